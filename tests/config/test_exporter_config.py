"""--config.file: the meaning of valid files, and the message for each error."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.config.exporter_config import Config, load_exporter_config, parse_exporter_config
from exporter.config.strict_yaml import ConfigError
from exporter.model.process import Process

FILES = Path(__file__).parents[1] / "fixtures" / "config" / "exporter"

FIELDS = ".Cgroups .Comm .Container .Cwd .ExeBase .ExeFull .Matches .PID .Service .StartTime .Unit .Username"
SETTINGS = "max_processes, max_remote_ports, max_series, process_names"
MESSAGES = {
    "bad-comm-not-list.yml": "process_names[0].comm: Expected `array | null`, got `str`",
    "bad-duplicate-key.yml": "line 4, column 5: comm: duplicate key, first defined on line 2",
    "bad-duplicate-setting.yml": "line 3, column 1: max_series: duplicate key, first defined on line 1",
    "bad-exe-nested-list.yml": "process_names[0].exe[0]: Expected `str`, got `array`",
    "bad-exe-null.yml": "process_names[1].exe[0]: Expected `str`, got `null`",
    "bad-key-number.yml": "process_names[0].80: unknown key (known: cmdline, comm, exe, name)",
    "bad-latin-1.yml": "line 2: not valid UTF-8",
    "bad-list-on-top.yml": "Expected `object`, got `array`",
    "bad-name-null.yml": "process_names[0].name: Expected `str`, got `null`",
    "bad-no-selector.yml": "process_names[1]: no selector, give comm, exe or cmdline",
    "bad-pattern-lookahead.yml": "process_names[0].cmdline[1]: invalid perl operator: (?!",
    "bad-pattern.yml": r"process_names[2].cmdline[0]: missing ): --port=(\d+",
    "bad-ports-above-maximum.yml": "max_remote_ports: Expected `int` <= 65535",
    "bad-ports-negative.yml": "max_remote_ports: Expected `int` >= 0",
    "bad-processes-above-maximum.yml": "max_processes: Expected `int` <= 10000",
    "bad-processes-negative.yml": "max_processes: Expected `int` >= 0",
    "bad-rule-not-mapping.yml": "process_names[1]: Expected `object`, got `str`",
    "bad-rules-not-list.yml": "process_names: Expected `array`, got `object`",
    "bad-series-above-maximum.yml": "max_series: Expected `int` <= 100000",
    "bad-series-below-minimum.yml": "max_series: Expected `int` >= 50",
    "bad-series-fraction.yml": "max_series: Expected `int`, got `float`",
    "bad-series-no-such-date.yml": "line 1, column 13: 2024-13-31 is not a valid timestamp",
    "bad-series-text.yml": "max_series: Expected `int`, got `str`",
    "bad-template-field.yml": "process_names[0].name: {{.Command}} at position 0: "
    f"unknown field (known: {FIELDS})",
    "bad-template-group.yml": "process_names[0].name: {{.Matches.Config}} at position 6: "
    "no cmdline pattern has a group Config",
    "bad-template-pipeline.yml": "process_names[0].name: {{.Comm | html}} at position 4: "
    "only fields such as {{.Comm}} can be used",
    "bad-template-unclosed.yml": "process_names[0].name: unclosed {{ at position 4",
    "bad-text-on-top.yml": "Expected `object`, got `str`",
    "bad-unknown-key.yml": "process_names[0].cmdlin: unknown key (known: cmdline, comm, exe, name)",
    "bad-unknown-setting.yml": f"max_serie: unknown key (known: {SETTINGS})",
    "bad-yaml-colon.yml": "line 2, column 14: mapping values are not allowed in this context",
    "bad-yaml-control-character.yml": "line 2, column 15: character U+0007 is not allowed",
    "bad-yaml-documents.yml": "line 2, column 1: expected a single document in the stream, "
    "but found another document",
    "bad-yaml-list-as-key.yml": "line 1, column 3: every key must be a string",
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


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse_exporter_config(text, "config.yml")
    return str(error.value)


@pytest.mark.parametrize("file", sorted(path.name for path in FILES.glob("bad-*.yml")))
def test_invalid_file_is_refused_with_its_message(file: str) -> None:
    path = str(FILES / file)
    with pytest.raises(ConfigError) as error:
        load_exporter_config(path)
    assert f"{path}: {MESSAGES[file]}" == str(error.value)


def test_every_message_has_a_file() -> None:
    assert set(MESSAGES) == {path.name for path in FILES.glob("bad-*.yml")}


@pytest.mark.parametrize(("file", "comm", "command_line", "expected"), NAMES)
def test_process_exporter_rules_name_processes(
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
    config = load_exporter_config(str(FILES / file))
    assert (expected, ()) == (config.namer.name(process), config.warnings)


def test_every_setting_is_read() -> None:
    config = load_exporter_config(str(FILES / "good-everything.yml"))
    assert (20, 0, 50) == (config.max_remote_ports, config.max_processes, config.max_series)
    assert ("{{.Comm}}", ("nginx",)) == (config.process_names[0].name, config.process_names[0].comm)


@pytest.mark.parametrize("file", ["good-empty.yml", "good-unset.yml"])
def test_missing_setting_has_its_default(file: str) -> None:
    config = load_exporter_config(str(FILES / file))
    assert Config() == config
    assert (50, 100, 2000) == (config.max_remote_ports, config.max_processes, config.max_series)
    assert ((), False, ()) == (config.process_names, config.namer.needs_details, config.warnings)


def test_warnings_name_their_place() -> None:
    assert (
        "process_names[1].name: {{.PID}} gives every process a name, and so series, of its own",
        "process_names[2].name: {{.StartTime}} gives every process a name, and so series, of its own",
    ) == load_exporter_config(str(FILES / "good-warnings.yml")).warnings


def test_scalars_are_strings_with_their_source_text() -> None:
    (rule,) = load_exporter_config(str(FILES / "good-scalars.yml")).process_names
    assert rule.comm == ("1234", "010", "1_000", "0x1F", "1e3", "on", "2024-12-31")
    assert rule.name == "8080"


def test_rules_are_compiled_once() -> None:
    config = load_exporter_config(str(FILES / "good-everything.yml"))
    assert config.namer is config.namer


def test_byte_order_mark_and_crlf_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_bytes(b"\xef\xbb\xbfmax_series: 60\r\nprocess_names:\r\n  - comm: [Sp\xc3\xb6ler]\r\n")
    config = load_exporter_config(str(file))
    assert (60, ("Spöler",)) == (config.max_series, config.process_names[0].comm)


def test_unreadable_file_is_named_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"^missing\.yml: No such file or directory$"):
        load_exporter_config("missing.yml")
    # Windows has no error of its own for a directory.
    with pytest.raises(ConfigError, match=r"^\./folder: (Is a directory|Permission denied)$"):
        load_exporter_config("./folder")


def test_merged_key_can_be_overridden_but_not_duplicated() -> None:
    shared = "process_names:\n  - &web {comm: [nginx], name: web}\n"
    config = parse_exporter_config(shared + "  - {<<: *web, name: other}\n", "config.yml")
    assert ["web", "other"] == [rule.name for rule in config.process_names]
    assert [("nginx",)] * 2 == [rule.comm for rule in config.process_names]
    assert "config.yml: line 3, column 15: name: duplicate key, first defined on line 3" == error_of(
        shared + "  - {name: a, name: b, <<: *web}\n"
    )


def test_nested_merge_has_no_duplicate_keys() -> None:
    """PyYAML expands the inner `<<` in place, perhaps before the mapping around it."""
    text = """
process_names:
  - &first {comm: [nginx], name: first}
  - &second {<<: *first, name: second}
  - {<<: *second}
"""
    assert ["first", "second", "second"] == [
        rule.name for rule in parse_exporter_config(text, "config.yml").process_names
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unknown:", f"unknown: unknown key (known: {SETTINGS})"),
        ("'': 1", f"'': unknown key (known: {SETTINGS})"),
        ("process_names: [{'': 1}]", "process_names[0].'': unknown key (known: cmdline, comm, exe, name)"),
        ("1: 2", f"1: unknown key (known: {SETTINGS})"),
        ("~: 2", "line 1, column 1: every key must be a string"),
        ("!!binary aGk=: 2", "line 1, column 1: every key must be a string"),
        ('"a\\nb": 1', f"'a\\nb': unknown key (known: {SETTINGS})"),
        ("max_series: 10000000000000000000000", "max_series: Expected `int` <= 100000"),
        (
            "process_names: [{comm: [!!binary aGk=]}]",
            "process_names[0].comm[0]: Expected `str`, got `bytes`",
        ),
        ("process_names: &again [*again]", "process_names[0]: Expected `object`, got `array`"),
        ("max_series: !!bool 1", "line 1, column 13: 1 is not a valid bool"),
        ("max_series: !!timestamp x", "line 1, column 13: x is not a valid timestamp"),
        ("ok: é\né\x07", "line 2, column 2: character U+0007 is not allowed"),
    ],
)
def test_invalid_text_is_refused_with_its_message(text: str, message: str) -> None:
    assert f"config.yml: {message}" == error_of(text)


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
    "!!seq ",
    "!!timestamp ",
    "!x ",
    "60",
    "1_",
    "2024-13-31",
    "nginx",
    ", ",
    "\x07",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(TOKENS)).map("".join)))
@example("!!int")  # PyYAML reads the first digit of nothing
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert 50 <= parse_exporter_config(text, "config.yml").max_series <= 100_000


def test_library_that_cannot_be_loaded_is_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yml"
    file.write_text("process_names: [{name: x, cmdline: ['java']}]")
    monkeypatch.setitem(sys.modules, "re2", None)  # an import of it raises ImportError
    with pytest.raises(ConfigError, match=r"config\.yml: cannot load re2: "):
        load_exporter_config(str(file))
