"""One module a question: `ASKS` says what, `ask` measures it."""
