"""Which variables a start may set, and which names are protected from all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.accepted_env import refusal, values_only
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.protected_variables import is_protected

NAMES_PROTECTED = """
    PYTHONWARNINGS PYTHONPATH PYTHONSTARTUP PYTHONHOME PYTHONBREAKPOINT PYTHONUSERBASE PYTHONHASHSEED
    LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES GLIBC_TUNABLES GCONV_PATH LOCPATH NLSPATH MALLOC_TRACE_
    RES_OPTIONS HOSTALIASES LOCALDOMAIN RESOLV_HOST_CONF GETCONF_DIR NIS_PATH TMPDIR TZDIR KRB5_CONFIG TERMINFO_DIRS
    PATH HOME SHELL ENV BASH_ENV BASH_FUNC_ls%% IFS PS4 PROMPT_COMMAND SHELLOPTS BASHOPTS CDPATH GLOBIGNORE ZDOTDIR
    BROWSER EDITOR VISUAL PAGER MANPAGER GIT_PAGER GIT_SSH_COMMAND GIT_EDITOR SSH_ASKPASS LESSOPEN XDG_CONFIG_HOME
    HTTP_PROXY http_proxy Https_Proxy ALL_PROXY no_proxy SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE REQUESTS_CA_BUNDLE
    CURL_CA_BUNDLE CURL_HOME AWS_CA_BUNDLE AWS_CONFIG_FILE AWS_ENDPOINT_URL_S3 GOOGLE_APPLICATION_CREDENTIALS NETRC
    OPENSSL_CONF OPENSSL_MODULES UV_INDEX_URL PIP_INDEX_URL VIRTUAL_ENV CONDA_PREFIX JUPYTER_PATH IPYTHONDIR JPY_SESSION
    NODE_OPTIONS NPM_CONFIG_REGISTRY npm_config_registry PERL5OPT PERL5LIB PERL5DB RUBYOPT RUBYLIB GEM_PATH
    JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS CLASSPATH GODEBUG RUSTC_WRAPPER CARGO_BUILD_RUSTC_WRAPPER
    MPLBACKEND COVERAGE_PROCESS_START PYTEST_ADDOPTS NUMBA_CACHE_DIR ODBCSYSINI OMP_TOOL_LIBRARIES
    FASTFLOW_RUN_ID FASTFLOW_ANYTHING DOCKER_HOST KUBECONFIG OTEL_EXPORTER_OTLP_ENDPOINT JVM_OPTS LIBPATH PSModulePath
    OCTAVE_SITE_INITFILE XDG_CONFIG_DIRS XDG_DATA_DIRS TCLLIBPATH LUA_INIT_5_3 DOTNET_STARTUP_HOOKS ERL_AFLAGS
"""
NAMES_HARMLESS = """
    NAME MODE path home env browser DAY DATE CUSTOMER_ID DRY_RUN LOG_LEVEL API_URL DEBUG TZ LANG LC_ALL TERM USER
    INPUT_PATH OUTPUT_HOME ENVIRONMENT PATHS MY_PYTHONPATH GOAL LESSON CARGO_ID BUNDLE_ID GS_BUCKET AWS_REGION N CC_LIST
    PROXY FEATURE_FLAGS TEMPERATURE HOMEPAGE SHELLFISH x Ä alpha
"""


@pytest.mark.parametrize("name", NAMES_PROTECTED.split())
def test_a_name_that_changes_how_programs_load_or_reach_the_network_is_protected(name: str) -> None:
    assert is_protected(name)


@pytest.mark.parametrize("name", NAMES_HARMLESS.split())
def test_any_other_name_is_not(name: str) -> None:
    assert not is_protected(name)


@pytest.mark.parametrize("pattern", ["PYTHON*", "LD_?*", "*_PROXY", "BASH_*", "PIP_*", "PS4"])
def test_a_pattern_of_nothing_but_protected_names_is_protected(pattern: str) -> None:
    assert is_protected(pattern)


CONFIG = RunConfig(
    default_env={"MODE": "dry"}, secret_names=frozenset({"API_KEY", "CUSTOMER_KEY"}), accepts_env=("CUSTOMER_*", "DAY")
)


def said(config: RunConfig, *names: str, by_operator: bool = False) -> str | None:
    return refusal(config, env_vars=names, parameters=(), by_operator=by_operator)


def test_a_start_from_outside_sets_names_of_default_env_and_accepts_env() -> None:
    assert said(CONFIG, "MODE", "DAY", "CUSTOMER_ID", "CUSTOMER_") is None


@pytest.mark.parametrize("name", ["OTHER", "MODES", "customer_id", "day", "CUSTOMER", "A\nMODE", "*"])
def test_it_sets_no_other_and_the_reason_says_what_to_do(name: str) -> None:
    reason = said(CONFIG, "MODE", name)
    assert reason is not None
    assert reason.startswith(f"env_vars: {name if name.isprintable() else repr(name)} is not declared")
    assert "accepts_env" in reason
    assert said(CONFIG, name, by_operator=True) is None


@pytest.mark.parametrize("by_operator", [True, False])
@pytest.mark.parametrize("field", ["env_vars", "parameters"])
@pytest.mark.parametrize("kind", ["script", "notebook"])
@pytest.mark.parametrize("name", ["BROWSER", "API_KEY", "CUSTOMER_KEY"])
def test_nobody_sets_a_protected_variable_or_a_secret(name: str, kind: str, field: str, by_operator: bool) -> None:
    """Not even if it is declared: a pattern may match more than its author thought of."""
    config = RunConfig(
        type=kind,  # type: ignore[arg-type]
        default_env={name: "x"},
        accepts_env=("*",),
        secret_names=CONFIG.secret_names,
    )
    names = {"env_vars": (), "parameters": ()} | {field: (name,)}
    reason = refusal(config, **names, by_operator=by_operator)
    assert reason is not None
    assert reason.startswith(f"{field}: {name} ")


def test_parameters_of_a_script_are_variables_and_must_be_declared() -> None:
    assert refusal(CONFIG, env_vars=(), parameters=("n",), by_operator=False) is not None
    assert refusal(CONFIG, env_vars=(), parameters=("DAY",), by_operator=False) is None


def test_parameters_of_a_notebook_need_no_declaration_but_are_then_values_only() -> None:
    notebook = RunConfig(type="notebook", accepts_env=("DAY",))
    assert refusal(notebook, env_vars=(), parameters=("n", "DAY"), by_operator=False) is None
    assert refusal(notebook, env_vars=("n",), parameters=(), by_operator=False) is not None
    assert values_only(notebook, ("n", "DAY"), by_operator=False) == ("n",)
    assert values_only(notebook, ("n", "DAY"), by_operator=True) == ()


def test_a_secret_whose_token_cannot_be_read_is_still_a_secret() -> None:
    """It stays unset; a start must not put its own value there. Those of an entry count where the entry runs."""
    spec = PipelineSpec(encrypted_env={"S": ""}, schedules=(ScheduleEntry(id="x", encrypted_env={"T": ""}),))
    for config, name in ((spec.run_config(), "S"), (spec.run_config("x"), "S"), (spec.run_config("x"), "T")):
        assert said(config, name, by_operator=True) is not None


@given(st.text(), st.booleans())
def test_any_name_gets_an_answer(name: str, by_operator: bool) -> None:
    reason = said(RunConfig(accepts_env=("*a*b*?*c*",)), name, by_operator=by_operator)
    assert reason is None or len(reason) < 400
