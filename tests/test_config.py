"""The configuration file: what good files mean, and the exact message for each way to be wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.config import Config, load, parse
from exporter.model.process import Process
from exporter.settings_file import ConfigError

FILES = Path(__file__).parent / "fixtures" / "config"

FIELDS = ".Cgroups .Comm .Container .Cwd .ExeBase .ExeFull .Matches .PID .StartTime .Unit .Username"
SETTINGS = "max_processes, max_remote_ports, max_series, process_names"
MESSAGES = {
    "bad-comm-boolean.yml": "process_names[0].comm[0]: expected a string, got a boolean (put it in quotes)",
    "bad-comm-date.yml": "process_names[0].comm[1]: expected a string, got a date (put it in quotes)",
    "bad-comm-empty.yml": "process_names[1].exe[0]: expected a string, got nothing",
    "bad-comm-not-list.yml": "process_names[0].comm: expected a list, got a string",
    "bad-comm-number.yml": "process_names[2].comm[0]: expected a string, got an integer (put it in quotes)",
    "bad-key-not-string.yml": "process_names[0]: every key must be a string",
    "bad-key-twice.yml": "line 4, column 5: comm given twice, first in line 2",
    "bad-latin-1.yml": "line 2: not valid UTF-8",
    "bad-list-on-top.yml": "expected a mapping, got a list",
    "bad-name-empty.yml": "process_names[0].name: expected a string, got nothing",
    "bad-no-selector.yml": "process_names[1]: no selector, give comm, exe or cmdline",
    "bad-no-such-date.yml": "line 2, column 19: 2024-13-31 is no timestamp",
    "bad-pattern-lookahead.yml": "process_names[0].cmdline[1]: (?! is not in Go's syntax at position 6",
    "bad-pattern.yml": "process_names[2].cmdline[0]: unterminated group at position 7",
    "bad-ports-many.yml": "max_remote_ports: expected an integer of at most 65535",
    "bad-ports-negative.yml": "max_remote_ports: expected an integer of at least 0",
    "bad-processes-many.yml": "max_processes: expected an integer of at most 10000",
    "bad-processes-negative.yml": "max_processes: expected an integer of at least 0",
    "bad-rule-not-mapping.yml": "process_names[1]: expected a mapping, got a string",
    "bad-rules-not-list.yml": "process_names: expected a list, got a mapping",
    "bad-series-few.yml": "max_series: expected an integer of at least 50",
    "bad-series-fraction.yml": "max_series: expected an integer, got a fractional number",
    "bad-series-many.yml": "max_series: expected an integer of at most 100000",
    "bad-series-text.yml": "max_series: expected an integer, got a string",
    "bad-setting-twice.yml": "line 3, column 1: max_series given twice, first in line 1",
    "bad-template-field.yml": "process_names[0].name: {{.Command}} at position 0: "
    f"unknown field (known: {FIELDS})",
    "bad-template-group.yml": "process_names[0].name: {{.Matches.Config}} at position 6: "
    "no cmdline pattern has a group Config",
    "bad-template-pipeline.yml": "process_names[0].name: {{.Comm | html}} at position 4: "
    "only fields such as {{.Comm}} can be used",
    "bad-template-unclosed.yml": "process_names[0].name: unclosed {{ at position 4",
    "bad-text-on-top.yml": "expected a mapping, got a string",
    "bad-unknown-key.yml": "process_names[0].cmdlin: unknown key (known: cmdline, comm, exe, name)",
    "bad-unknown-setting.yml": f"max_serie: unknown key (known: {SETTINGS})",
    "bad-yaml-colon.yml": "line 2, column 14: mapping values are not allowed in this context",
    "bad-yaml-control-character.yml": "line 2, column 15: character U+0007 is not allowed",
    "bad-yaml-documents.yml": "line 2, column 1: expected a single document in the stream, "
    "but found another document",
    "bad-yaml-list-as-key.yml": "line 1, column 3: while constructing a mapping, found unhashable key",
    "bad-yaml-quote.yml": "line 3, column 1: while scanning a quoted scalar, found unexpected end of stream",
    "bad-yaml-tag.yml": "line 1, column 16: could not determine a constructor for the tag "
    "'tag:yaml.org,2002:python/name:os.system'",
}

NAMES = [
    ("good-process-exporter.yml", "nginx", "/usr/sbin/nginx -g daemon", "nginx"),
    (
        "good-process-exporter.yml",
        "prometheus-node",
        "/usr/bin/prometheus-node-exporter",
        "prometheus-node-exporter",
    ),
    ("good-process-exporter.yml", "postmaster", "/usr/lib/postgresql/15/bin/postgres -D /data", "postgres"),
    ("good-process-exporter.yml", "cupsd", "/usr/sbin/cupsd -l", "cupsd"),
    (
        "good-process-exporter.yml",
        "alertmanager",
        "/usr/local/bin/alertmanager --config.file=/etc/am.yml --log.level=info",
        "alertmanager:/etc/am.yml",
    ),
    ("good-process-exporter.yml", "kworker/0:1", "", "kworker/0:1"),
    ("good-process-exporter.yml", "sleep", "/opt/busybox sleep 9", "sleep"),
    (
        "good-java-estate.yml",
        "java",
        "/usr/bin/java -Dcatalina.base=/srv/tomcat/shop org.apache.catalina.startup.Bootstrap start",
        "tomcat:shop",
    ),
    ("good-java-estate.yml", "java", "java -Xmx1g kafka.Kafka server.properties", "kafka-Kafka"),
    ("good-java-estate.yml", "java", "java kafka.tools.MirrorMaker", "kafka-tools.MirrorMaker"),
    (
        "good-java-estate.yml",
        "java",
        "java -jar /srv/app/order-service-1.4.2.jar --port 80",
        "jar:order-service",
    ),
    ("good-java-estate.yml", "java", "java -jar order.jar", "jar:order"),
    ("good-java-estate.yml", "java", "java Main", "java"),
    ("good-workers.yml", "celery", "/opt/venv/bin/Celery -A shop worker --queues=mail,news", "celery:mail"),
    ("good-workers.yml", "python3", "/usr/bin/python3 -u -B /srv/poll.py --fast", "python3/srv/poll.py"),
    ("good-workers.yml", "php-fpm8.2", "php-fpm: pool www", "php-fpm:www"),
    ("good-workers.yml", "php-fpm8.2", "php-fpm: pool www\n", "php-fpm8.2"),
    ("good-workers.yml", "sshd", "/usr/sbin/sshd -D", "sshd"),
    ("good-workers.yml", "dash", "/bin/bash", "alice"),
    ("good-containers.yml", "uvicorn", "/srv/bin/python /srv/bin/uvicorn", "shop.service"),
    (
        "good-containers.yml",
        "wrk:worker_0",
        "/usr/local/bin/envoy -c /etc/envoy.yaml",
        "wrk:worker_0@0123456789ab",
    ),
]


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse(text, "config.yml")
    return str(error.value)


@pytest.mark.parametrize("file", sorted(path.name for path in FILES.glob("bad-*.yml")))
def test_every_bad_file_is_refused_with_its_message(file: str) -> None:
    path = str(FILES / file)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert f"{path}: {MESSAGES[file]}" == str(error.value)


def test_every_message_has_its_file() -> None:
    assert set(MESSAGES) == {path.name for path in FILES.glob("bad-*.yml")}


@pytest.mark.parametrize(("file", "comm", "command_line", "expected"), NAMES)
def test_files_in_the_style_of_process_exporter(
    file: str, comm: str, command_line: str, expected: str
) -> None:
    process = Process(
        pid=7,
        started_at=1.0,
        comm=comm,
        cmdline=tuple(command_line.split(" ")) if command_line else (),
        username="alice",
        unit="shop.service",
        container="0123456789abcdef" * 4,
    )
    config = load(str(FILES / file))
    assert (expected, ()) == (config.namer.name(process), config.warnings)


def test_every_setting_is_taken() -> None:
    config = load(str(FILES / "good-everything.yml"))
    assert (20, 0, 50) == (config.max_remote_ports, config.max_processes, config.max_series)
    assert ("{{.Comm}}", ("nginx",)) == (config.process_names[0].name, config.process_names[0].comm)


@pytest.mark.parametrize("file", ["good-empty.yml", "good-unset.yml"])
def test_what_is_not_set_has_its_default(file: str) -> None:
    config = load(str(FILES / file))
    assert Config() == config
    assert (50, 100, 2000) == (config.max_remote_ports, config.max_processes, config.max_series)
    assert ((), False, ()) == (config.process_names, config.namer.needs_details, config.warnings)


def test_warnings_name_the_place() -> None:
    assert (
        "process_names[1].name: {{.PID}} gives every process a name, and so series, of its own",
        "process_names[2].name: {{.StartTime}} gives every process a name, and so series, of its own",
    ) == load(str(FILES / "good-unwise.yml")).warnings


def test_rules_are_compiled_once() -> None:
    config = load(str(FILES / "good-everything.yml"))
    assert config.namer is config.namer


def test_a_byte_order_mark_and_carriage_returns_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_bytes(b"\xef\xbb\xbfmax_series: 60\r\nprocess_names:\r\n  - comm: [Sp\xc3\xb6ler]\r\n")
    config = load(str(file))
    assert (60, ("Spöler",)) == (config.max_series, config.process_names[0].comm)


def test_a_file_that_cannot_be_read_is_named_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"^missing\.yml: No such file or directory$"):
        load("missing.yml")
    with pytest.raises(ConfigError, match=r"^\./folder: Is a directory$"):
        load("./folder")


def test_merged_keys_may_be_overridden_but_not_repeated() -> None:
    shared = "process_names:\n  - &web {comm: [nginx], name: web}\n"
    config = parse(shared + "  - {<<: *web, name: other}\n", "config.yml")
    assert ["web", "other"] == [rule.name for rule in config.process_names]
    assert [("nginx",)] * 2 == [rule.comm for rule in config.process_names]
    assert "config.yml: line 3, column 15: name given twice, first in line 3" == refusal(
        shared + "  - {name: a, name: b, <<: *web}\n"
    )


def test_a_merge_into_what_is_merged_elsewhere_repeats_nothing() -> None:
    """PyYAML unfolds the inner `<<` in place, and may do so before it builds the mapping around it."""
    text = """
process_names:
  - &first {comm: [nginx], name: first}
  - &second {<<: *first, name: second}
  - {<<: *second}
"""
    assert ["first", "second", "second"] == [rule.name for rule in parse(text, "config.yml").process_names]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unknown:", f"unknown: unknown key (known: {SETTINGS})"),
        ("'': 1", f"'': unknown key (known: {SETTINGS})"),
        ("process_names: [{'': 1}]", "process_names[0].'': unknown key (known: cmdline, comm, exe, name)"),
        ("1: 2", "every key must be a string"),
        ("max_series: 10000000000000000000000", "max_series: expected an integer of at most 100000"),
        (
            "process_names: [{comm: [!!binary aGk=]}]",
            "process_names[0].comm[0]: expected a string, got binary data",
        ),
        ("process_names: &again [*again]", "process_names[0]: expected a mapping, got a list"),
        ("max_series: !!bool 1", "line 1, column 13: 1 is no bool"),
        ("max_series: !!timestamp x", "line 1, column 13: x is no timestamp"),
        ("ok: é\né\x07", "line 2, column 2: character U+0007 is not allowed"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    assert f"config.yml: {message}" == refusal(text)


TOKENS = [
    "process_names:",
    "max_series:",
    "\n",
    "\n  ",
    "- ",
    "comm: ",
    "name: ",
    "cmdline: ",
    "[",
    "]",
    "{",
    "}",
]
TOKENS += [
    "'",
    '"',
    "&a ",
    "*a ",
    "<<: ",
    "? ",
    "!!int ",
    "!!set ",
    "60",
    "1_",
    "2024-13-31",
    "nginx",
    ", ",
    "\x07",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(TOKENS)).map("".join)))
@example("!!int")  # PyYAML reads the first digit of nothing
def test_any_text_is_a_configuration_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert 50 <= parse(text, "config.yml").max_series <= 100_000
