"""A job file to its jobs: all values are checked, each fault with its place in the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

from hangar_async.config.gates import Gate, check_gate_word
from hangar_async.config.listen import parse_metrics
from hangar_async.config.naming import Template
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.filesystem import foreign_right
from hangar_async.jobfile.document import Node, Place, at, parse_document, parsed, read_document
from hangar_async.jobfile.fields import FileFields
from hangar_async.jobfile.jobs import Job, JobFile, Outputs, Prune, Source, Webhook
from hangar_async.jobfile.registries import read_registries
from hangar_async.jobfile.schedule import Cron, Every, Schedule, parse_duration, parse_interval, parse_zone
from hangar_async.jobfile.shape import check_shape
from hangar_async.oci import DOCKER_HUB, PlatformSelector, Reference, ReferrerSelector, split_registry
from hangar_async.tags.patterns import Patterns
from hangar_async.tags.rules import TagRules
from hangar_async.tags.version import VersionRange

_PERCENT = re.compile(r"([1-9][0-9]{0,2})%")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


def read(path: Path, environ: Mapping[str, str]) -> JobFile:
    """Read a job file, YAML or JSON; raises UsageError that names the place.

    One that has a gate may be written by this user and by root alone.
    """
    file = _file(read_document(path, environ), path)
    if file.has_gate and (why := foreign_right(path)):
        raise UsageError(
            f"{path} has a gate, a program that is run, and {why}",
            advice="chown it to the user of this run, and chmod go-w it",
        )
    return file


def parse(text: str, path: Path, environ: Mapping[str, str]) -> JobFile:
    """Read the text of a job file at a path; raises UsageError that names the place."""
    return _file(parse_document(text, str(path), environ), path)


def _file(root: Node, path: Path) -> JobFile:
    check_shape(root, FileFields)
    fields = root.fields
    defaults = _normal(fields["defaults"]) if "defaults" in fields else None
    jobs = tuple(_job(_normal(node).over(defaults), node, path.parent) for node in fields["jobs"].items)
    if not jobs:
        fields["jobs"].refuse("the file has no job")
    _check_names(jobs)
    _check_targets(jobs)
    registries = fields["registries"] if "registries" in fields else Node({}, root.place)
    state = path.parent / str(fields["state"].value) if "state" in fields else None
    creations, limits = read_registries(registries, path.parent)
    webhooks = tuple(map(_webhook, fields["notify"].items)) if "notify" in fields else ()
    return JobFile(str(path), jobs, creations, limits, state, webhooks, root.has_variables, _outputs(fields, path))


def _outputs(fields: Mapping[str, Node], path: Path) -> Outputs:
    found = fields["report"].fields if "report" in fields else {}
    parsed(found, "metrics", lambda node: parse_metrics(str(node.value), "metrics"))
    json, failed, metrics = (
        str(found[name].value) if name in found else None for name in ("json", "failed", "metrics")
    )
    directory = path.parent
    return Outputs(directory / json if json else None, directory / failed if failed else None, metrics)


def _webhook(node: Node) -> Webhook:
    address = node.fields["webhook"]
    from hangar_async.registry.webhook import check_webhook  # few files have one

    try:
        check_webhook(str(address.value))
    except UsageError as error:
        # Its text may be a secret.
        address.refuse(f"`webhook` is {error}, or a variable that has it", error)
    when = frozenset(str(word.value) for word in node.fields["when"].items)
    return Webhook(when, str(address.value), address.place)


#: The fields of mappings that a text or a list stands for.
_SHORT = {"tags": "match", "referrers": "types", "gate": "command"}


def _normal(node: Node) -> Node:
    """Return the fields of a job with `tags: [TEXT]` as `tags: {match: [TEXT]}`, and other short forms written out."""
    fields = dict(node.fields)
    for name, field in _SHORT.items():
        if (short := fields.get(name)) is not None and not isinstance(short.value, dict):
            fields[name] = Node({field: short}, short.place, {field: short.place})
    return Node(fields, node.place, node.keys)


def _job(merged: Node, own: Node, directory: Path) -> Job:
    fields = merged.fields
    name = fields["name"]
    if not _NAME.fullmatch(str(name.value)):
        name.refuse(f"{name.written!r} is no name of a job: write letters, digits, '.', '_' and '-'")
    if name.hidden:
        name.refuse(
            "the name of a job stands in messages and numbers: write it without variables, which may be secrets"
        )
    if ("from" in fields) == ("list" in fields):
        own.place.refuse(f"job {name.value} needs `from` or `list`: one of the two")
    if "list" in fields and "tags" in own.fields:
        own.keys["tags"].refuse("the lines of a `list` name their tags: leave out `tags`")
    if "from" in fields and "to" not in fields:
        own.place.refuse(f"job {name.value} has no `to`: write it here or in `defaults`")
    tags = fields.get("tags")
    referrers = fields["referrers"].fields if "referrers" in fields else {}
    job = Job(
        name=str(name.value),
        place=own.place,
        sources=tuple(_source(node) for node in fields["from"].items) if "from" in fields else (),
        list=directory / str(fields["list"].value) if "list" in fields else None,
        to=None if (to := parsed(fields, "to", lambda node: Template(str(node.value)))) is None else to.text,
        rules=None if tags is None or "list" in fields else _rules(tags.fields),
        immutable=_patterns(tags.fields, "immutable") if tags else None,
        platforms=parsed(fields, "platforms", _platforms) or (),
        index=str(fields["index"].value) if "index" in fields else "auto",
        referrers=parsed(referrers, "types", _referrers) or "all",
        required=parsed(referrers, "require", _required) or (),
        gate=_gate(fields["gate"]) if "gate" in fields else None,
        keeps="overwrite" in fields and fields["overwrite"].value == "never",
        prune=_prune(fields["prune"]) if "prune" in fields else None,
        schedule=_schedule(fields, own.fields),
        credentials=parsed(fields, "credentials", lambda node: _existing(directory / str(node.value))),
    )
    for source in job.sources:
        with at(fields["to"], "to"):
            job.target(source, source.example)
    for kind in job.required:
        if kind not in ReferrerSelector.parse(job.referrers):
            referrers["require"].refuse(f"{kind} is required, and `types` leaves it out: name it there too")
    if job.gate is not None and job.gate.needs_target and job.platforms:
        fields["gate"].refuse("{destination} is the whole image: leave out `platforms`, or let the gate read {source}")
    return job


def _schedule(fields: Mapping[str, Node], own: Mapping[str, Node]) -> Schedule | None:
    """Read when a job begins: one of `every` and `cron`, where that of the job goes before that of the defaults."""
    kinds = [kind for kind in ("every", "cron") if kind in own] or [
        kind for kind in ("every", "cron") if kind in fields
    ]
    if len(kinds) > 1:
        fields["cron"].refuse("`every` and `cron` both say when the job begins: leave out one of them")
    zone = parsed(fields, "timezone", lambda node: parse_zone(str(node.value))) or UTC
    jitter = parsed(
        fields, "jitter", lambda node: timedelta(0) if node.value == "0" else parse_interval(str(node.value))
    )
    if kinds == ["every"]:
        every = parsed(fields, "every", lambda node: Every.parse(str(node.value)))
        return Schedule(every, jitter) if every else None
    cron = parsed(fields, "cron", lambda node: Cron.parse(str(node.value), zone))
    return Schedule(cron, jitter) if cron else None


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InvalidValue("`credentials` names no file that is there")
    return path


def _texts(node: Node, check: Callable[[str], object], name: str) -> tuple[str, ...]:
    """Return the texts of a list, or the single one; an error of `check` names the place of its text."""
    texts = []
    for item in node.items:
        with at(item, name):
            check(str(item.value))
        texts.append(str(item.value))
    return tuple(texts)


def _platforms(node: Node) -> tuple[str, ...]:
    """Read platforms; none stands for all."""
    texts = _texts(node, lambda text: PlatformSelector.parse([text]), "platforms")
    return () if not texts or PlatformSelector.parse(texts).all_architectures else texts


def _referrers(node: Node) -> str:
    text = ",".join(_texts(node, ReferrerSelector.parse, "referrers"))
    ReferrerSelector.parse(text)
    return text


def _required(node: Node) -> tuple[str, ...]:
    def check(text: str) -> None:
        if ReferrerSelector.parse(text).only != text:
            raise InvalidValue(f"{text[:100]!r} is no artifact type that can be required: write one of its own")

    return _texts(node, check, "require")


def _gate(node: Node) -> Gate:
    command, fields = node.fields["command"], node.fields
    words = _texts(command, check_gate_word, "gate")
    hidden = tuple(value for word in command.items for value, _ in word.hidden)
    limit = parsed(fields, "timeout", lambda one: parse_duration(str(one.value), "smh", "time limit", "60s"))
    with at(command, "gate"):
        return Gate(words, limit.total_seconds() if limit else 60.0, hidden)


def _patterns(fields: Mapping[str, Node], name: str, *, empty: bool = False) -> Patterns | None:
    if (node := fields.get(name)) is None:
        return None
    return Patterns.parse(_texts(node, lambda text: Patterns.parse([text], empty=empty), name), empty=empty)


def _prune(node: Node) -> Prune | None:
    """Read the fields of a removal; None for "none"."""
    if not isinstance(node.value, dict):
        return None
    prune = parsed(node.fields, "at-most", _most) or Prune()
    return replace(prune, keep=_patterns(node.fields, "keep"))


def _most(node: Node) -> Prune:
    """Read a number of tags, or a part of them in percent."""
    if isinstance(node.value, int) and node.value > 0:
        return Prune(number=node.value)
    match = _PERCENT.fullmatch(str(node.value))
    if match is None or int(match[1]) > 100:
        raise InvalidValue(
            f"{str(node.value)[:100]!r} is no part of the tags: write a number from 1 on, or one such as 10%"
        )
    return Prune(percent=int(match[1]))


def _rules(fields: Mapping[str, Node]) -> TagRules:
    values = {name: node.value for name, node in fields.items()}
    newest, per = values.get("newest"), values.get("per")
    if per is not None and newest is None:
        fields["per"].refuse("`per` has a meaning beside `newest` alone: write both")
    return TagRules(
        match=_patterns(fields, "match"),
        version=parsed(fields, "version", lambda node: VersionRange.parse(str(node.value))),
        variants=_patterns(fields, "variants", empty=True),
        prereleases=values.get("prereleases") is True,
        exclude=_patterns(fields, "exclude"),
        newer_than=parsed(fields, "newer-than", lambda node: parse_duration(str(node.value), "hdw", "age", "180d")),
        newest=newest if isinstance(newest, int) else None,
        per="major" if per == "major" else "minor" if per == "minor" else None,
        also=_texts(fields["also"], _check_tag, "also") if "also" in fields else (),
    )


def _check_tag(text: str) -> None:
    if not _TAG.fullmatch(text):
        raise InvalidValue(f"{text[:140]!r} is no tag: write names alone in `also`, and patterns in `match`")


def _source(node: Node) -> Source:
    text = str(node.value)
    with at(node, "from"):
        name, sign, _ = text.partition("@")
        if sign or ":" in name.rpartition("/")[2]:
            raise InvalidValue(f"{text[:140]!r} is more than a repository: write REGISTRY/NAME, and tags in `tags`")
        registry, path = split_registry(name)
        # A wildcard may stand wherever letters may.
        checked = Reference(registry, re.sub(r"\*+", "x", path) if "*" in path else path)
        if "*" in path and checked.registry == DOCKER_HUB:
            raise InvalidValue(f"{text[:140]!r}: Docker Hub lists no repositories: name them one by one")
        return Source(checked.registry, path if "*" in path else checked.repository, node.place)


def _check_names(jobs: tuple[Job, ...]) -> None:
    seen: dict[str, Place] = {}
    for job in jobs:
        if job.name in seen:
            job.place.refuse(f"job {job.name} stands here twice; the first one is in line {seen[job.name].line}")
        seen[job.name] = job.place


def _check_targets(jobs: tuple[Job, ...]) -> None:
    """Raise UsageError where two repositories would have one name."""
    seen: dict[str, Source] = {}
    for job in jobs:
        for source in job.sources:
            if source.is_pattern:
                continue
            target = job.target(source, source.example).name
            first = seen.setdefault(target, source)
            if first != source:
                source.place.refuse(f"{source} would be {target}, as {first} in line {first.place.line} is")
