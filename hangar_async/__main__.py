"""`python -m hangar_async`."""

from hangar_async.cli.main import run

if __name__ == "__main__":
    run()
