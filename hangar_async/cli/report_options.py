"""The options of reports for machines, each with its help."""

from typing import Annotated

from typer import Argument, Option

ReportFile = Annotated[
    str | None,
    Option(
        "--report",
        metavar="FILE",
        help="Report for machines, as JSON; - is standard output.  [default: none]",
        show_default=False,
    ),
]
ReportAction = Annotated[str, Argument(metavar="ACTION", help="merge: one report of several.", show_default=False)]
ReportsToMerge = Annotated[
    list[str], Argument(metavar="REPORT...", help="Reports, as --report writes them.", show_default=False)
]
MergedReport = Annotated[
    str,
    Option("-o", "--output", metavar="FILE", help="Report of all runs; - is standard output.", show_default=False),
]
MergedFailedList = Annotated[
    str,
    Option(
        "--failed",
        metavar="LIST",
        help="List of the images that are still to be tried; removed when there are none.",
        show_default=True,
    ),
]
