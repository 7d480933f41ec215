"""Variables that change how a program is loaded, what it runs, or how it reaches the network. A list, pure.

Whoever sets one of them in the environment of a script may execute code in it, or read what it sends. So no start may
set them; a pipeline's author may, in ``default_env``.

The sources: what glibc ignores in privileged programs, what sudo removes, and the manuals of what scripts load or call.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Final

_PATTERNS: Final = (
    "FASTFLOW_*",
    # The loader and the C library
    *("LD_*", "LDR_*", "DYLD_*", "_RLD*", "LIBPATH", "SHLIB_PATH", "GLIBC_TUNABLES", "GCONV_PATH", "GETCONF_DIR"),
    *("LOCPATH", "NLSPATH", "PATH_LOCALE", "MALLOC_*", "TZDIR", "TMPDIR", "TMP", "TEMP", "HOME", "PATH", "XDG_*"),
    *("HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_*", "NIS_PATH", "KRB5*", "NSS_*", "TERMCAP", "TERMINFO*"),
    *("TERMPATH", "ASAN_*", "LSAN_*", "MSAN_*", "TSAN_*", "UBSAN_*", "SYSTEMD_*", "DBUS_*", "DISPLAY", "XAUTHORITY"),
    # Shells, and programs that others start
    *("BASH_*", "BASHOPTS", "SHELLOPTS", "ENV", "SHELL", "IFS", "CDPATH", "GLOBIGNORE", "FPATH", "FIGNORE", "FCEDIT"),
    *("PS[0-4]", "PROMPT_COMMAND", "ZDOTDIR", "NULLCMD", "READNULLCMD", "TMPPREFIX", "INPUTRC", "HISTFILE", "MAILPATH"),
    *("BROWSER", "EDITOR", "*_EDITOR", "VISUAL", "PAGER", "*PAGER", "LESS", "LESSOPEN", "LESSCLOSE", "LESSKEY*"),
    *("LESSHISTFILE", "SUDO_*", "SSH_*", "GPG_*", "GNUPGHOME", "GIT_*", "SVN_*", "CVS_*", "HG", "HGRCPATH", "HGEDITOR"),
    *("HGMERGE", "RSYNC_*", "MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS", "MAKEFILES"),
    # Python, its tools, and libraries that load code or files by name
    *("PYTHON*", "__PYVENV_*", "PY_PYTHON*", "VIRTUAL_ENV*", "CONDA*", "_CONDA*", "MAMBA*", "UV_*", "PIP_*", "PIPX_*"),
    *("PIPENV_*", "PYENV_*", "POETRY_*", "PDM_*", "HATCH_*", "SETUPTOOLS_*", "DISTUTILS_*", "COVERAGE_*", "PYTEST_*"),
    *("PYDEVD_*", "DEBUGPY_*", "JUPYTER_*", "JPY_*", "IPYTHON*", "MPLBACKEND", "MPLCONFIGDIR", "MATPLOTLIBRC"),
    *("NUMBA_*", "CUPY_*", "TORCH*", "TRITON_*", "PYSPARK_*", "SPARK_*", "GDAL_*", "PROJ_LIB", "PROJ_DATA"),
    *("MAGICK_*", "GS_LIB", "GS_OPTIONS", "HF_ENDPOINT", "OMP_TOOL*", "CUDA_INJECTION*", "NCCL_*", "OCL_ICD_*"),
    *("VK_ICD_FILENAMES", "VK_DRIVER_FILES", "VK_LAYER_PATH", "QT_*", "GTK_*", "GI_TYPELIB_PATH", "GIO_*"),
    *("GST_PLUGIN_*", "GST_REGISTRY*", "LIBGL_*", "TCLLIBPATH", "TCL_LIBRARY", "TK_LIBRARY", "ODBC*", "TNS_ADMIN"),
    *("PGSERVICEFILE", "PGSYSCONFDIR", "PGPASSFILE", "PGSSL*", "LIBMYSQL_*", "MYSQL_HOME", "DJANGO_SETTINGS_MODULE"),
    *("FLASK_APP", "OTEL_*", "SENTRY_DSN"),
    # Other languages and their packages
    *("PERL*", "RUBY*", "GEM_HOME", "GEM_PATH", "BUNDLE_PATH", "BUNDLE_GEMFILE", "BUNDLE_BIN", "BUNDLE_APP_CONFIG"),
    *("NODE_*", "NPM_*", "PNPM_*", "YARN_*", "COREPACK_*", "NVM_*", "DENO_*", "BUN_*", "ELECTRON_*"),
    *("JAVA_*", "_JAVA_*", "JVM_*", "JDK_*", "CLASSPATH", "MAVEN_*", "GRADLE_*", "HADOOP_*"),
    *("DOTNET_*", "CORECLR_*", "COR_PROFILER*", "COR_ENABLE_PROFILING", "COMPlus_*", "MONO_*", "PHPRC", "PHP_*"),
    *(
        "OCTAVE_*",
        "PSModulePath",
        "LUA_*",
        "R_HOME",
        "R_LIBS*",
        "R_PROFILE*",
        "R_ENVIRON*",
        "JULIA_*",
        "ERL_*",
        "ELIXIR_*",
        "GHC*",
        "OCAML*",
    ),
    *("CAML*", "GODEBUG", "GOENV", "GOFLAGS", "GOPATH", "GOPROXY", "GOROOT", "GOSUMDB", "GOTOOLCHAIN", "CGO_*"),
    *("RUST*", "CARGO_HOME", "CARGO_BUILD_*", "CARGO_TARGET_*", "CARGO_REGISTR*", "CARGO_HTTP_*", "CARGO_NET_*"),
    *("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CPATH", "LIBRARY_PATH", "*_INCLUDE_PATH"),
    *("COMPILER_PATH", "GCC_*", "PKG_CONFIG*", "CMAKE_*"),
    # The network: proxies, certificates, addresses, and files of credentials that may name programs
    *("SSL_*", "SSLKEYLOGFILE", "OPENSSL_*", "*CA_BUNDLE", "CURL_*", "NETRC", "WGETRC", "GRPC_*", "AWS_CONFIG_FILE"),
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL*", "AWS_DATA_PATH", "AWS_CONTAINER_*", "AWS_EC2_METADATA_*"),
    *("AWS_WEB_IDENTITY_*", "BOTO_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_EXTERNAL_ACCOUNT_*", "CLOUDSDK_*"),
    *("GCE_METADATA_*", "AZURE_CONFIG_DIR", "AZURE_AUTHORITY_HOST", "DOCKER_*", "KUBECONFIG", "KUBERNETES_*"),
)
_IN_ANY_CASE: Final = ("*_PROXY", "NPM_CONFIG_*")
"""Programs read these in lower case, too."""

_PROTECTED: Final = re.compile("|".join(map(translate, _PATTERNS)))
_PROTECTED_IN_ANY_CASE: Final = re.compile("|".join(map(translate, _IN_ANY_CASE)), re.IGNORECASE)


def is_protected(name: str) -> bool:
    """Whether no start may set the variable *name*.

    A pattern such as ``PYTHON*`` is protected if all that it stands for is.
    """
    return bool(_PROTECTED.fullmatch(name) or _PROTECTED_IN_ANY_CASE.fullmatch(name))
