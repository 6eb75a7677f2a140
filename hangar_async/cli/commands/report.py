"""`hangar-async report`."""

import typer

from hangar_async.cli import report_options, values
from hangar_async.errors import UsageError


def report_command(
    context: typer.Context,
    action: report_options.ReportAction,
    reports: report_options.ReportsToMerge,
    output: report_options.MergedReport,
    failed: report_options.MergedFailedList = "report-failed.txt",
) -> int:
    """Join reports of runs into one, with one list of the images that failed."""
    from hangar_async import MergeReportsOptions, merge_reports
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view.summary_local import after_merge_reports

    if action != "merge":
        raise UsageError(f"unknown action {action!r}: merge is the only one")
    flags = values.flags(context)
    merge_options = MergeReportsOptions(
        reports=[values.existing_path(report, "REPORT") for report in reports],
        report=values.output_target(output, "--output"),
        failed=values.file_path(failed, "--failed"),
    )
    return run_verb(
        merge_reports, merge_options, after_merge_reports, quiet=flags.quiet, remains="nothing was written"
    ).status
