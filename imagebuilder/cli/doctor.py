"""``imagebuilder doctor``: what this machine has and lacks."""

import json
from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from imagebuilder.cli import options
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.cli.tables import show
from imagebuilder.doctor import Finding, examine
from imagebuilder.errors import MachineLacks
from imagebuilder.events import step


@click.command("doctor")
@options.as_json
def command(as_json: bool) -> None:
    """Say what this machine has and lacks, and the command that installs it. Exit status 3 when something that every
    user needs is missing."""
    with listener(quiet=as_json, verbose=False) as say, step(say, "doctor", "looking at this machine"):
        findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _show(findings)
    if any(finding.required and not finding.ok for finding in findings):
        raise SystemExit(MachineLacks.exit_status)


def _show(findings: list[Finding]) -> None:
    table = Table("", "what", "found", "needed for", "what to do")
    for finding in findings:
        sign = "[green]✓[/]" if finding.ok else "[red]✗[/]" if finding.required else "[yellow]–[/]"
        table.add_row(
            sign, *(Text(word or "") for word in (finding.name, finding.found, finding.needed_for, finding.mend))
        )
    show(stdout(), table)
