"""The options of mirrors that job files have too, each with its help."""

from typing import Annotated

from hangar_async.cli.options import flag, option

Overwrite = Annotated[
    str,
    option(
        "--overwrite",
        "WORD",
        "A tag there of another image: moved, it follows its source, or never, it stays.",
        shown=True,
    ),
]
RecheckReferrers = Annotated[
    bool,
    flag("--recheck-referrers", "Look for new signatures and other referrers of unchanged images too."),
]
JobFile = Annotated[
    str | None,
    option(
        "-c --config",
        "FILE",
        "Job file, YAML or JSON: repositories, rules for their tags, and targets.  [default: no jobs]",
    ),
]
Only = Annotated[
    list[str] | None,
    option("--only", "NAME", "Only the job of this name. May be repeated.  [default: all jobs of the file]"),
]
Check = Annotated[
    bool,
    flag("--check", "As --dry-run, with status 4 where the jobs would change something."),
]
Explain = Annotated[
    str | None,
    option(
        "--explain",
        "IMAGE:TAG",
        "Tell which filter of the jobs lets this tag fall, and copy nothing.  [default: nothing is told]",
    ),
]
Watch = Annotated[
    bool,
    flag("--watch", "Run each job at its times, until a signal ends it."),
]
Schema = Annotated[bool, flag("--schema", "Write the JSON Schema of job files, and do nothing else.")]
PruneAnyway = Annotated[
    bool,
    flag(
        "--prune-anyway",
        "Delete more tags than `at-most`, and those of repositories that a job does not name any more.",
    ),
]
PlanFile = Annotated[
    str | None,
    option(
        "--plan", "FILE", "Copy the images of this plan alone, by their digests.  [default: those that the jobs choose]"
    ),
]
PlanOut = Annotated[
    str | None,
    option(
        "--plan-out",
        "FILE",
        "As --dry-run, and write a plan: images by digest, and what they need there; - is standard output.  "
        "[default: no plan]",
    ),
]
JsonPlan = Annotated[bool, flag("--json", "With --dry-run, write the plan on standard output.")]
SavedList = Annotated[
    str | None,
    option(
        "-f --file", "LIST", "Image list, one image a line; - is standard input.  [default: the images of --config]"
    ),
]
SavedJobs = Annotated[
    str | None,
    option("--config", "FILE", "Job file in place of a list: the images that its jobs choose.  [default: no jobs]"),
]
