"""The options of mirrors that job files have too, each with its help."""

from typing import Annotated

import typer

Overwrite = Annotated[
    str,
    typer.Option(
        "--overwrite",
        metavar="WORD",
        help="A tag there of another image: moved, it follows its source, or never, it stays.",
        show_default=True,
    ),
]
RecheckReferrers = Annotated[
    bool,
    typer.Option(
        "--recheck-referrers",
        help="Look for new signatures and other referrers of unchanged images too.  [default: false]",
    ),
]
JobFile = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="Job file, YAML or JSON: repositories, rules for their tags, and targets.  [default: no jobs]",
        show_default=False,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="Only the job of this name. May be repeated.  [default: all jobs of the file]",
        show_default=False,
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check", help="As --dry-run, with status 4 where the jobs would change something.  [default: false]"
    ),
]
Explain = Annotated[
    str | None,
    typer.Option(
        "--explain",
        metavar="IMAGE:TAG",
        help="Tell which filter of the jobs lets this tag fall, and copy nothing.  [default: nothing is told]",
        show_default=False,
    ),
]
Watch = Annotated[
    bool,
    typer.Option("--watch", help="Run each job at its times, until a signal ends it.  [default: false]"),
]
Schema = Annotated[
    bool, typer.Option("--schema", help="Write the JSON Schema of job files, and do nothing else.  [default: false]")
]
PruneAnyway = Annotated[
    bool,
    typer.Option(
        "--prune-anyway",
        help="Delete more tags than `at-most`, and those of repositories that a job does not name any more.  "
        "[default: false]",
    ),
]
PlanFile = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        help="Copy the images of this plan alone, by their digests.  [default: those that the jobs choose]",
        show_default=False,
    ),
]
PlanOut = Annotated[
    str | None,
    typer.Option(
        "--plan-out",
        metavar="FILE",
        help="As --dry-run, and write a plan: images by digest, and what they need there; - is standard output.  "
        "[default: no plan]",
        show_default=False,
    ),
]
JsonPlan = Annotated[
    bool, typer.Option("--json", help="With --dry-run, write the plan on standard output.  [default: false]")
]
SavedList = Annotated[
    str | None,
    typer.Option(
        "-f",
        "--file",
        metavar="LIST",
        help="Image list, one image a line; - is standard input.  [default: the images of --config]",
        show_default=False,
    ),
]
SavedJobs = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Job file in place of a list: the images that its jobs choose.  [default: no jobs]",
        show_default=False,
    ),
]
