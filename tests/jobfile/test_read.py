"""Jobs of a file, and each of their faults with its place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from hangar_async.config.creation import Creation
from hangar_async.config.gates import Gate
from hangar_async.config.registries import HostLimits
from hangar_async.errors import UsageError
from hangar_async.jobfile.jobs import Outputs, Prune
from hangar_async.jobfile.read import read as read_file
from hangar_async.jobfile.schedule import Cron, Every, Schedule, parse_zone
from hangar_async.tags.patterns import Patterns
from tests.jobfile.rig import WHOLE, changed, read


def test_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "mirror.yaml").write_text(WHOLE)
    file = read_file(tmp_path / "mirror.yaml", {})
    assert file.creations == {"harbor.lan": Creation("harbor")}
    assert file.limits["docker.io"] == HostLimits()
    bases, monitoring, pinned = file.jobs
    assert [str(source) for source in bases.sources] == ["docker.io/library/nginx", "docker.io/library/python"]
    assert bases.rules is not None
    assert (bases.rules.newest, bases.rules.per, bases.rules.also) == (2, "minor", ("latest", "1.27"))
    assert str(bases.rules.version) == ">=1.25 <4"
    assert bases.platforms == ("linux/amd64", "linux/arm64")
    assert monitoring.sources[0].is_pattern
    assert monitoring.sources[0].prefix == "prometheus/"
    assert monitoring.rules is not None
    assert monitoring.rules.newer_than == timedelta(days=180)
    assert monitoring.immutable is not None
    assert monitoring.immutable.texts == ("v*.*.*",)
    assert monitoring.index == "original"
    assert pinned.list == tmp_path / "images.txt"
    assert (pinned.rules, pinned.platforms, pinned.keeps) == (None, (), True)


def test_a_job_takes_from_the_defaults_what_it_does_not_say() -> None:
    bases, monitoring, _ = read(WHOLE).jobs
    assert (bases.to, monitoring.to) == ("harbor.lan/mirror/{name}", "harbor.lan/mirror/{registry}/{repository}")
    assert bases.rules is not None
    assert monitoring.rules is not None
    assert (bases.rules.prereleases, monitoring.rules.prereleases) == (True, True)
    assert (bases.rules.newest, monitoring.rules.newest) == (2, 3)
    assert not bases.keeps


def test_a_list_of_tags_is_a_list_of_patterns() -> None:
    old = 'tags: {match: "v*", exclude: ["*-debug"], newer-than: 180d, immutable: "v*.*.*"}'
    job = read(changed(old, 'tags: [v1, "v2*"]')).jobs[1]
    assert job.rules is not None
    assert job.rules.match is not None
    assert job.rules.match.texts == ("v1", "v2*")
    assert job.rules.newest == 3


@pytest.mark.parametrize(
    ("text", "referrers", "required"),
    [
        ("none", "none", ()),
        ("[a/b, c/d]", "a/b,c/d", ()),
        ("{types: [a/b, c/d], require: a/b}", "a/b,c/d", ("a/b",)),
        ("{require: [a/b, c/d]}", "all", ("a/b", "c/d")),
    ],
)
def test_referrers(text: str, referrers: str, required: tuple[str, ...]) -> None:
    job = read(changed("index: original", f"referrers: {text}")).jobs[1]
    assert (job.referrers, job.required) == (referrers, required)


def test_a_gate() -> None:
    short = read(changed("index: original", "gate: [cosign, verify, '{source}@{digest}', '{}']")).jobs[1]
    assert short.gate == Gate(("cosign", "verify", "{source}@{digest}", "{}"))
    text = changed("index: original", 'gate: {command: [a, "${KEY}"], timeout: 2m}')
    assert read(text, {"KEY": "hidden"}).jobs[1].gate == Gate(("a", "hidden"), 120, ("hidden",))


def test_a_file_with_a_gate_is_written_by_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "mirror.yaml"
    path.write_text(WHOLE)
    path.chmod(0o666)
    assert not read_file(path, {}).has_gate
    path.write_text(changed("index: original", "gate: [cosign]"))
    with pytest.raises(UsageError, match=r"has a gate, a program that is run, and .*mirror.yaml may be written by all"):
        read_file(path, {})
    path.chmod(0o644)
    assert read_file(path, {}).has_gate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Prune()),
        ("{at-most: 10%}", Prune(percent=10)),
        ("{at-most: 7, keep: v1.8.*}", Prune(Patterns.parse(["v1.8.*"]), 7)),
        ("none", None),
    ],
)
def test_a_prune(text: str, expected: Prune | None) -> None:
    assert read(changed("index: original", f"prune: {text}")).jobs[1].prune == expected


def test_a_prune_of_the_defaults_may_be_left_out() -> None:
    text = changed("  overwrite: moved", "  prune: {at-most: 3}").replace("overwrite: never", "prune: none")
    assert [job.prune for job in read(text).jobs] == [Prune(number=3), Prune(number=3), None]


@pytest.mark.parametrize(
    ("defaults", "own", "schedule"),
    [
        ("", "", None),
        ("every: 6h", "", Schedule(Every(timedelta(hours=6)))),
        ("every: 6h", "every: 1d", Schedule(Every(timedelta(days=1)))),
        ("every: 6h, jitter: '0'", 'cron: "0 2 * * *"', Schedule(Cron("0 2 * * *"), timedelta(0))),
        (
            "timezone: Europe/Berlin",
            'cron: "0 2 * * *", jitter: 5m',
            Schedule(Cron("0 2 * * *", parse_zone("Europe/Berlin")), timedelta(minutes=5)),
        ),
    ],
)
def test_schedules(defaults: str, own: str, schedule: Schedule | None) -> None:
    job = f"{{name: a, from: r.io/x, to: h.io/x, {own}}}"
    assert read(f"version: 1\ndefaults: {{{defaults}}}\njobs: [{job}]").jobs[0].schedule == schedule


def test_webhooks_are_secrets() -> None:
    text = (
        f"notify: [{{when: [failed, copied], webhook: '${{HOOK}}'}}, {{when: always, webhook: 'http://h.io'}}]\n{WHOLE}"
    )
    hook, other = read(text, {"HOOK": "https://h.io/s3cret?x=1"}).webhooks
    assert (sorted(hook.when), hook.address, hook.place.line) == (["copied", "failed"], "https://h.io/s3cret?x=1", 1)
    assert (sorted(other.when), other.address) == (["always"], "http://h.io")
    assert "s3cret" not in repr(hook)
    for wrong in (
        "s3cret",
        "ftp://s3cret",
        "https://user:s3cret@h.io",
        "https://h.io/s3cret x",
        "https://h.io:s3cret/",
    ):
        with pytest.raises(UsageError, match=r"mirror\.yaml:1:44: `webhook` is no address") as raised:
            read(text, {"HOOK": wrong})
        assert "s3cret" not in str(raised.value)


def test_credentials_are_beside_the_file_and_there(tmp_path: Path) -> None:
    (tmp_path / "hub.json").write_text("{}")
    (tmp_path / "mirror.yaml").write_text(changed("index: original", "credentials: hub.json"))
    assert read_file(tmp_path / "mirror.yaml", {}).jobs[1].credentials == tmp_path / "hub.json"
    with pytest.raises(UsageError, match=r"23:18: `credentials` names no file that is there"):
        read(changed("index: original", "credentials: s3cret.json"))


def test_outputs_are_beside_the_file() -> None:
    assert read(WHOLE).outputs == Outputs()
    text = f"report: {{json: r.json, failed: f.txt, metrics: '9464'}}\n{WHOLE}"
    assert read(text).outputs == Outputs(Path("jobs/r.json"), Path("jobs/f.txt"), "9464")
    with pytest.raises(UsageError, match=r"1:48: .*'x' is no address to listen on"):
        read(text.replace("'9464'", "'x'"))


def test_a_name_of_a_job_has_no_variables() -> None:
    with pytest.raises(UsageError, match="11:11: the name of a job stands in messages and numbers"):
        read(changed("name: bases", "name: '${NAME}'"), {"NAME": "bases"})


def test_the_state_is_beside_the_file() -> None:
    assert read(WHOLE).state is None
    assert read(f"state: known.db\n{WHOLE}").state == Path("jobs/known.db")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (">=1.25 <4", "newest", "version"),
        ('"*-debug"', "a/b", "exclude"),
        ('match: "v*"', 'match: "/[/"', "match"),
        ("180d", "180 days", "newer-than"),
        ("also: [latest", 'also: ["late*"', "also"),
        ("library/python", "library/python:3", "from"),
        ("linux/arm64", "a/b/c/d", "platforms"),
        ("index: original", "referrers: [a/b, x]", "referrers"),
        ("index: original", "gate: [a, '{x}']", "gate"),
        ("{name}", "{nmae}", "to"),
    ],
)
def test_a_fault_names_its_field(old: str, new: str, name: str) -> None:
    with pytest.raises(UsageError, match=rf"^jobs/mirror\.yaml:\d+:\d+: (`{name}`: |{name} )"):
        read(changed(old, new))


def test_no_tags_at_all_are_all_tags() -> None:
    assert read("version: 1\njobs: [{name: a, from: r.io/x, to: 'h.io/x'}]").jobs[0].rules is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("index: original", "every: 6 hours", "23:12: '6 hours' is no interval"),
        ("index: original", 'cron: "0 2 * *"', "23:11: .* has not the five fields of cron"),
        ("index: original", "every: 1h\n    cron: 0 2 * * *", "24:11: `every` and `cron` both say when the job begins"),
        ("index: original", "timezone: Europe/Nowhere", "23:15: 'Europe/Nowhere' is no time zone"),
        ("index: original", "jitter: some", "23:13: 'some' is no interval"),
        (">=1.25 <4", "newest", "15:16: 'newest' is no comparison of versions"),
        ("{name}", "{nmae}", "13:9: to 'harbor.lan/mirror/{nmae}': {nmae} is no field: write {name}"),
        ("{name}", "${HOST:-x.io}/{nmae}", "13:9: to '.*{HOST}/{nmae}': {nmae} is no field"),
        ("{registry}/{repository}", "{2}", r"6:7: to: \{2\} is no wildcard: the source has 1"),
        ('"*-debug"', "a/b", "22:35: 'a/b' matches no tag"),
        ('match: "v*"', 'match: "/[/"', r"22:19: '/\[/' is no regular expression"),
        ("180d", "999999w", "22:59: '999999w' is longer than a hundred years: write a shorter age, such as 180d"),
        ("180d", "180 days", "22:59: '180 days' is no age: write a number with h, d or w"),
        ("also: [latest", 'also: ["late*"', r"19:14: 'late\*' is no tag: write names alone in `also`"),
        ("library/python", "library/python:3", "12:37: .*is more than a repository: write REGISTRY/NAME"),
        ("docker.io/library/python", "quay.io/x/nginx", "12:37: quay.io/x/nginx would be .*, as .*nginx in line 12 is"),
        ("quay.io/prometheus/*", "docker.io/a/*", r"21:11: 'docker.io/a/\*': Docker Hub lists no repositories"),
        ("library/python", "Library/python", "12:37: 'Library/python' has upper-case letters"),
        ("name: monitoring", "name: bases", "20:5: job bases stands here twice; the first one is in line 11"),
        ("name: bases", "name: a b", "11:11: 'a b' is no name of a job"),
        ("linux/arm64", "a/b/c/d", "7:28: 'a/b/c/d' is not an architecture"),
        ("index: original", "referrers: [a/b, x]", "23:22: 'x' is no artifact type: write all, none, or types"),
        ("index: original", "referrers: [a/b, all]", "23:16: 'all' is no artifact type: write all, none, or types"),
        ("index: original", "prune: {at-most: 101%}", "23:22: '101%' is no part of the tags: write a number from"),
        ("index: original", "prune: {at-most: some}", "23:22: 'some' is no part of the tags: write a number from"),
        ("index: original", "prune: {at-most: 0}", "23:22: '0' is no part of the tags: write a number from 1 on"),
        ("index: original", "prune: yes", "23:12: `prune` is yes: write a mapping of keep, at-most or none"),
        ("index: original", "referrers: {require: all}", "23:26: 'all' is no artifact type that can be required"),
        ("index: original", "referrers: {types: a/b, require: [a/c]}", "23:38: a/c is required, and `types` leaves"),
        ("index: original", "gate: []", "23:11: the gate names no program"),
        ("index: original", "gate: [a, '{sorce}']", "23:15: {sorce} is no field of a gate: write {source}"),
        ("index: original", "gate: ['${HOST:-x.io} {y}']", "23:12: {y} is no field of a gate: it has {source}, "),
        ("index: original", "gate: [a, '{destination}']", "23:11: {destination} is the whole image: leave out"),
        ("index: original", "gate: {command: [a], timeout: 2}", "23:35: `timeout` has 2, which is read as a number"),
        ("index: original", "gate: {command: [a], timeout: 2 d}", "23:35: '2 d' is no time limit: write a number"),
        ("    list: images.txt\n", "", "24:5: job pinned needs `from` or `list`: one of the two"),
        ("    list: images.txt\n", "    list: i\n    from: r.io/x\n", "24:5: job pinned needs `from` or `list`"),
        ("    list: images.txt\n", "    list: i\n    tags: x\n", "26:5: the lines of a `list` name their tags"),
        ("  harbor.lan: {", "  harbor: {", "3:3: 'harbor' is taken for a part of a name"),
    ],
)
def test_a_fault_names_its_place(old: str, new: str, message: str) -> None:
    place, _, text = message.partition(": ")
    # The field's name, where the text does not have it.
    with pytest.raises(UsageError, match=f"^jobs/mirror.yaml:{place}: (`[a-z-]+`: )?{text}"):
        read(changed(old, new))


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("{name: a, from: r.io/x}", "2:8: job a has no `to`: write it here or in `defaults`"),
        ("{name: a, from: r.io/x, to: h.io/x, tags: {per: major}}", "2:56: `per` has a meaning beside `newest` alone"),
        ("", "2:7: the file has no job"),
    ],
)
def test_a_job_that_cannot_be(job: str, message: str) -> None:
    place, _, text = message.partition(": ")
    # The field's name, where the text does not have it.
    with pytest.raises(UsageError, match=f"^jobs/mirror.yaml:{place}: (`[a-z-]+`: )?{text}"):
        read(f"version: 1\njobs: [{job}]")
