"""Process names: process-exporter's rules, valid label values for any process, the cache of names."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.process import Process, ProcessId
from exporter.naming.rules import (
    NameCache,
    Namer,
    NameRule,
    RuleError,
    compile_rules,
)

TOMCAT = Process(
    pid=4711,
    started_at=1700000000.67,
    comm="java",
    cmdline=("/usr/lib/jvm/bin/java", "-Xmx2g", "-Dapp=shop", "-jar", "/srv/shop.jar"),
    username="tomcat",
    cwd="/srv",
    cgroups=("/user.slice", "/system.slice/tomcat.service"),
    unit="tomcat.service",
    container="0123456789ab" + "c" * 52,
)
KERNEL_THREAD = Process(pid=2, started_at=1.0, comm="kthreadd")


def rules(*items: Mapping[str, object]) -> tuple[NameRule, ...]:
    return msgspec.convert(items, tuple[NameRule, ...])


def name(process: Process, *items: Mapping[str, object]) -> str:
    return compile_rules(rules(*items)).name(process)


def java_named(template: str, *patterns: str) -> str:
    return name(TOMCAT, {"comm": ["java"], "cmdline": patterns, "name": template})


def with_argv0(argv0: str) -> Process:
    return Process(pid=1, started_at=1.0, comm="comm", cmdline=(argv0,))


def test_comm_is_the_name_without_rules() -> None:
    namer = compile_rules(())
    assert ("java", False) == (namer.name(TOMCAT), namer.needs_details)
    assert Namer() == namer


def test_rules_need_details() -> None:
    assert compile_rules(rules({"comm": ["java"]})).needs_details


def test_process_without_matching_rule_is_named_by_comm() -> None:
    assert "java" == name(TOMCAT, {"comm": ["bash"], "name": "shell"})


def test_first_matching_rule_names_the_process() -> None:
    first, second = {"comm": ["java"], "name": "first"}, {"comm": ["java"], "name": "second"}
    no = {"comm": ["bash"], "name": "no"}
    assert "first" == name(TOMCAT, no, first, second)
    assert "second" == name(TOMCAT, no, second, first)


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"comm": ["java"]}, True),
        ({"comm": ["bash", "java"]}, True),
        ({"comm": ["jav"]}, False),
        ({"comm": ["JAVA"]}, False),
        ({"comm": ["/usr/lib/jvm/bin/java"]}, False),
        ({"comm": []}, False),
        ({"exe": ["java"]}, True),
        ({"exe": ["/usr/lib/jvm/bin/java"]}, True),
        ({"exe": ["/usr/bin/java"]}, False),
        ({"exe": ["/usr/bin/java", "/usr/lib/jvm/bin/java"]}, True),
        ({"exe": ["/usr/lib/jvm/bin/java", "/usr/bin/java"]}, True),
        ({"exe": ["bin/java"]}, False),
        ({"exe": []}, False),
        ({"cmdline": ["-jar"]}, True),
        ({"cmdline": ["^/usr", r"shop\.jar$"]}, True),
        ({"cmdline": ["-jar", "-war"]}, False),
        ({"cmdline": ["^java"]}, False),
        ({"cmdline": ["-Xmx2g -Dapp"]}, True),
        ({"cmdline": []}, True),
        ({"comm": ["java"], "exe": ["java"], "cmdline": ["-jar"]}, True),
        ({"comm": ["bash"], "exe": ["java"], "cmdline": ["-jar"]}, False),
        ({"comm": ["java"], "exe": ["bash"], "cmdline": ["-jar"]}, False),
        ({"comm": ["java"], "exe": ["java"], "cmdline": ["-war"]}, False),
    ],
)
def test_every_selector_must_match(rule: dict[str, object], fits: bool) -> None:
    assert ("fits" if fits else "java") == name(TOMCAT, {**rule, "name": "fits"})


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"exe": ["kthreadd"], "name": "fits"}, "kthreadd"),
        ({"exe": [""], "name": "fits"}, "kthreadd"),
        ({"cmdline": [".+"], "name": "fits"}, "kthreadd"),
        ({"cmdline": [".*"], "name": "fits"}, "fits"),
        ({"comm": ["kthreadd"], "name": "{{.ExeBase}} {{.ExeFull}}"}, "kthreadd kthreadd"),
    ],
)
def test_comm_replaces_exe_without_arguments(rule: dict[str, object], expected: str) -> None:
    assert expected == name(KERNEL_THREAD, rule)


@pytest.mark.parametrize(
    ("argv0", "base"),
    [
        ("bash", "bash"),
        ("-bash", "-bash"),
        ("/bin/bash", "bash"),
        ("/opt/app/", "app"),
        ("//", "/"),
        ("", "comm"),
        ("nginx: master process /usr/sbin/nginx", "nginx"),
        (r"odd\name", r"odd\name"),
        (r"C:\Windows\System32\spoolsv.exe", "spoolsv.exe"),
        ("C:/Windows/System32/spoolsv.exe", "spoolsv.exe"),
    ],
)
def test_exe_base_is_the_base_name_of_argv0(argv0: str, base: str) -> None:
    assert base == name(with_argv0(argv0), {"comm": ["comm"]})
    assert "fits" == name(
        with_argv0(argv0), {"exe": [base], "name": "fits"}, {"comm": ["comm"], "name": "fits"}
    )


@pytest.mark.parametrize("path", ["/usr/sbin/cupsd", r"C:\Windows\System32\spoolsv.exe"])
def test_exe_with_a_slash_is_compared_with_argv0(path: str) -> None:
    assert "fits" == name(with_argv0(path), {"exe": [path], "name": "fits"})
    assert "comm" == name(with_argv0("/else" + path), {"exe": [path], "name": "fits"})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", "java"),
        ("plain", "plain"),
        ("{{.Comm}}", "java"),
        ("{{.ExeBase}}", "java"),
        ("{{.ExeFull}}", "/usr/lib/jvm/bin/java"),
        ("{{.Username}}", "tomcat"),
        ("{{.PID}}", "4711"),
        ("{{.StartTime}}", "2023-11-14 22:13:20.67 +0000 UTC"),
        ("{{.Cwd}}", "/srv"),
        ("{{.Cgroups}}", "[/user.slice /system.slice/tomcat.service]"),
        ("{{.Unit}}", "tomcat.service"),
        ("{{.Container}}", "0123456789ab"),
        ("{{.Matches}}", "map[app:shop heap:2]"),
        ("{{.Matches.app}}", "shop"),
        ("{{.Matches.none}}", "java"),  # An optional group without a match: an empty name, hence comm.
        ("{{.Comm}}:{{.Matches.app}}@{{.Username}}", "java:shop@tomcat"),
        ("{{ .Comm }}|{{\t.Comm\n}}", "java|java"),
        ("a {{- .Comm -}} b", "ajavab"),
        ("a \n{{- .Comm }} b", "ajava b"),
        ("a {{ .Comm -}} \t\r\n b", "a javab"),
        ("{{.Comm -}}  {{- .Comm}}", "javajava"),
        ("{.Comm} }} {", "{.Comm} }} {"),
    ],
)
def test_template_fields_are_printed_as_by_go(template: str, expected: str) -> None:
    groups = r"-Xmx(?P<heap>\d+)", r"-Dapp=(?P<app>\w+)"
    optional = ("(?P<none>-war)?",) if ".none" in template else ()
    assert expected == java_named(template, *groups, *optional)


def test_group_of_the_later_pattern_overrides() -> None:
    assert "shop.jar" == java_named("{{.Matches.app}}", r"app=(?P<app>\w+)", r"/(?P<app>[^/]+)$")


@pytest.mark.parametrize(
    ("start_time", "expected"),
    [(0.0, "1970-01-01 00:00:00 +0000 UTC"), (1700000000.0, "2023-11-14 22:13:20 +0000 UTC")]
    + [(unreal, "comm") for unreal in (float("nan"), float("inf"), 1e300)],
)
def test_start_time_is_printed_as_by_go(start_time: float, expected: str) -> None:
    process = Process(pid=1, started_at=start_time, comm="comm")
    assert expected == name(process, {"comm": ["comm"], "name": "{{.StartTime}}"})


KNOWN = ".Cgroups .Comm .Container .Cwd .ExeBase .ExeFull .Matches .PID .Service .StartTime .Unit .Username"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{.Exe}}", f"{{{{.Exe}}}} at position 0: unknown field (known: {KNOWN})"),
        ("a {{.comm -}} b", f"{{{{.comm -}}}} at position 2: unknown field (known: {KNOWN})"),
        ("{{.Comm.X}}", f"{{{{.Comm.X}}}} at position 0: unknown field (known: {KNOWN})"),
        ("ab{{.Matches.Y}}", "{{.Matches.Y}} at position 2: no cmdline pattern has a group Y"),
        ("ab{{.Comm", "unclosed {{ at position 2"),
        ("{{.Comm}}{{", "unclosed {{ at position 9"),
        ("{{}}", "{{}} at position 0: only fields such as {{.Comm}} can be used"),
        ("{{.}}", "{{.}} at position 0: only fields such as {{.Comm}} can be used"),
        ("{{{.Comm}}}", "{{{.Comm}} at position 0: only fields such as {{.Comm}} can be used"),
        ("{{-.Comm}}", "{{-.Comm}} at position 0: only fields such as {{.Comm}} can be used"),
        ("{{.Comm-}}", "{{.Comm-}} at position 0: only fields such as {{.Comm}} can be used"),
        ("{{.Comm|len}}", "{{.Comm|len}} at position 0: only fields such as {{.Comm}} can be used"),
        ("x{{if .Comm}}", "{{if .Comm}} at position 1: only fields such as {{.Comm}} can be used"),
        (
            '{{index .Matches "X"}}',
            '{{index .Matches "X"}} at position 0: only fields such as {{.Comm}} can be used',
        ),
        ("{{.Matches.X.Z}}", "{{.Matches.X.Z}} at position 0: only fields such as {{.Comm}} can be used"),
        ("{{/* X */}}", "{{/* X */}} at position 0: only fields such as {{.Comm}} can be used"),
    ],
)
def test_invalid_template_is_an_error_with_its_position(template: str, problem: str) -> None:
    with pytest.raises(RuleError) as error:
        java_named(template, "(?P<X>x)")
    assert ("[0].name", problem) == (error.value.path, error.value.problem)


def test_group_of_another_rule_is_unknown() -> None:
    having = {"cmdline": ["(?P<X>x)"], "name": "{{.Matches.X}}"}
    with pytest.raises(RuleError) as error:
        compile_rules(rules(having, {"comm": ["java"], "name": "{{.Matches.X}}"}))
    assert "[1].name: {{.Matches.X}} at position 0: no cmdline pattern has a group X" == str(error.value)


def test_error_of_a_pattern_has_its_path_and_re2_message() -> None:
    with pytest.raises(RuleError) as error:
        compile_rules(rules({"comm": ["a"]}, {"cmdline": ["fine", "(bad"]}))
    assert "[1].cmdline[1]: missing ): (bad" == str(error.value)


def test_rule_without_selectors_is_an_error() -> None:
    with pytest.raises(RuleError) as error:
        compile_rules(rules({"comm": ["a"]}, {"name": "everything"}))
    assert "[1]: no selector, give comm, exe or cmdline" == str(error.value)


def test_template_with_pid_or_start_time_is_warned_of() -> None:
    unwise = {"comm": ["a"], "name": "{{.Comm}} {{ .PID }} {{.PID}} {{- .StartTime -}}"}
    assert (
        "[1].name: {{.PID}} gives every process a name, and so series, of its own",
        "[1].name: {{.StartTime}} gives every process a name, and so series, of its own",
    ) == compile_rules(rules({"comm": ["b"]}, unwise)).warnings
    assert () == compile_rules(rules({"comm": ["PID"], "name": "PID .PID {{.Comm}}"})).warnings


def test_empty_name_falls_back_to_comm_then_to_unknown() -> None:
    empty = Process(pid=1, started_at=1.0, comm="")
    assert "unknown" == name(empty)
    assert "unknown" == name(empty, {"comm": [""], "name": "{{.Unit}}"})
    no_unit, later = {"cmdline": [""], "name": "{{.Unit}}"}, {"cmdline": [""], "name": "later rule"}
    assert "kthreadd" == name(KERNEL_THREAD, no_unit, later)


@pytest.mark.parametrize("reserved", ["other", "unknown"])
def test_process_with_a_reserved_comm_keeps_it(reserved: str) -> None:
    assert reserved == name(Process(pid=1, started_at=1.0, comm=reserved))


def test_name_is_valid_utf8_and_truncated() -> None:
    undecodable = b"\xe9t\xe9".decode("utf-8", "surrogateescape")
    assert "\ufffdt\ufffd" == name(Process(pid=1, started_at=1.0, comm=undecodable))
    assert "é" * 200 == name(Process(pid=1, started_at=1.0, comm="é" * 5000))


def test_patterns_see_the_whole_command_line() -> None:
    rule = {"cmdline": ["y$"], "name": "fits"}
    assert "fits" == name(Process(pid=1, started_at=1.0, comm="comm", cmdline=("x" * 2_000_000, "y")), rule)


class CountingNamer(Namer):
    """Counts the evaluations of its rules by comm."""

    evaluations: ClassVar[Counter[str]] = Counter()

    def name(self, process: Process) -> str:
        self.evaluations[process.comm] += 1
        return super().name(process)


@pytest.fixture
def evaluations() -> Counter[str]:
    CountingNamer.evaluations.clear()
    return CountingNamer.evaluations


JAVA, KTHREADD = ProcessId(4711, 1.0), ProcessId(2, 1.0)


def test_cached_name_is_made_once(evaluations: Counter[str]) -> None:
    cache = NameCache(CountingNamer())
    for _ in range(3):
        assert "java" == cache.name(JAVA, TOMCAT)
        assert "kthreadd" == cache.name(KTHREADD, KERNEL_THREAD)
    assert {"java": 1, "kthreadd": 1} == evaluations


def test_cached_name_is_made_again_for_changed_attributes(evaluations: Counter[str]) -> None:
    cache = NameCache(CountingNamer())
    renamed = dataclasses.replace(TOMCAT, comm="renamed")
    assert ["java", "renamed", "renamed"] == [cache.name(JAVA, known) for known in (TOMCAT, renamed, renamed)]
    assert {"java": 1, "renamed": 1} == evaluations


def test_cached_name_is_not_shared_by_processes_with_one_pid() -> None:
    cache = NameCache(Namer())
    assert ("java", "kthreadd") == (cache.name(JAVA, TOMCAT), cache.name(ProcessId(4711, 2.0), KERNEL_THREAD))
    assert "java" == cache.name(JAVA, TOMCAT)


def test_cached_names_of_unused_processes_are_dropped(evaluations: Counter[str]) -> None:
    cache = NameCache(CountingNamer())
    for owner, process in ((JAVA, TOMCAT), (KTHREADD, KERNEL_THREAD)):
        cache.name(owner, process)
    cache.retain(lambda owner: owner == JAVA)
    for owner, process in ((JAVA, TOMCAT), (KTHREADD, KERNEL_THREAD)):
        cache.name(owner, process)
    assert {"java": 1, "kthreadd": 2} == evaluations


SHORT_TEXT = st.text(st.characters(codec=None), max_size=5)  # Surrogates too.
ANY_TEXT = SHORT_TEXT | SHORT_TEXT.map(lambda text: text * 200)
FEW_TEXTS = st.lists(ANY_TEXT, max_size=3).map(tuple)
PROCESSES = st.builds(
    Process,
    pid=st.integers(),
    started_at=st.floats(),
    comm=ANY_TEXT,
    cmdline=FEW_TEXTS,
    username=ANY_TEXT,
    cwd=ANY_TEXT,
    cgroups=FEW_TEXTS,
    unit=ANY_TEXT,
    container=ANY_TEXT,
)
EVERY_FIELD = "".join(f"{{{{{field}}}}}" for field in KNOWN.split())
ANY_RULES = st.lists(
    st.builds(
        NameRule,
        name=st.sampled_from(
            ["", "{{.Comm}}", "{{.Unit}}", "{{.Matches.all}}", "{{.StartTime}}", EVERY_FIELD]
        ),
        comm=st.none() | FEW_TEXTS,
        exe=st.none() | FEW_TEXTS,
        cmdline=st.just((r"(?s)(?P<all>.*)(?P<digit>\d)?",)),
    ),
    max_size=3,
)


@given(PROCESSES, ANY_RULES)
def test_name_of_any_process_is_a_valid_label_value(process: Process, any_rules: list[NameRule]) -> None:
    label = compile_rules(any_rules).name(process)
    assert 0 < len(label) <= 200
    assert label == label.encode().decode()


@given(PROCESSES)
def test_rule_by_comm_equals_no_rules(process: Process) -> None:
    by_comm = {"cmdline": [""], "name": "{{.Comm}}"}
    assert name(process) == name(process, by_comm)


@given(st.lists(st.sampled_from(["{{", "}}", "-", " ", ".Comm", ".Matches", ".x", "if", "\n"])).map("".join))
def test_every_template_is_compiled_or_an_error(template: str) -> None:
    with contextlib.suppress(RuleError):
        assert "{{" not in java_named(template)
