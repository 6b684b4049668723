"""Stand-ins for the OpenSSL 1.0 and the old libcurl that Mesos' library asks for.

They export the same names.  Those of OpenSSL lead to the OpenSSL 3 of this machine, so that Mesos
speaks TLS; where there is none, and for libcurl, which Mesos needs for downloads only, they do
nothing.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

VERSION = "2"

_OPENSSL = ("OPENSSL_1.0.0", "OPENSSL_1.0.1", "OPENSSL_1.0.2")
_STAND_INS: Mapping[str, Sequence[str]] = {
    "libssl.so.1.0.0": _OPENSSL,
    "libcrypto.so.1.0.0": _OPENSSL,
    "libcurl.so.4": ("CURL_OPENSSL_3",),
}

_RENAMED = {
    "SSLv23_method": "TLS_method",
    "SSL_get_peer_certificate": "SSL_get1_peer_certificate",
    "SSL_state": "SSL_get_state",
    **{
        f"sk_{name}": f"OPENSSL_sk_{name}"
        for name in (["new_null", "num", "pop_free", "push", "value"])
    },
}

# What was a control command in 1.0 and is a function in 3, or happens by itself there.
_OPENSSL_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static void *ssl, *crypto;
void *compactor_slots[COUNT];
static const char *names[COUNT] = {NAMES};

static void *find(const char *name)
{
    void *found = ssl ? dlsym(ssl, name) : NULL;
    return found || !crypto ? found : dlsym(crypto, name);
}

static long nothing(void) { return 0; }
static long one(void) { return 1; }

static long ctx_ctrl(void *ctx, int command, long number, void *pointer)
{
    const unsigned long same = 0x1f404000; /* the options that have kept their bits */
    if (command == 32) /* SSL_CTRL_OPTIONS */
        return ((unsigned long (*)(void *, unsigned long)) find("SSL_CTX_set_options"))(
            ctx, (unsigned long) number & same);
    if (command == 94) /* SSL_CTRL_SET_ECDH_AUTO */
        return 1;
    return ((long (*)(void *, int, long, void *)) find("SSL_CTX_ctrl"))(
        ctx, command, number, pointer);
}

static void *ctx_new(void *method)
{
    void *ctx = ((void *(*)(void *)) find("SSL_CTX_new"))(method);
    if (ctx != NULL) /* OpenSSL 1.0 has no TLS 1.3, so nobody switches it off */
        ((unsigned long (*)(void *, unsigned long)) find("SSL_CTX_set_options"))(ctx, 1UL << 29);
    return ctx;
}

__attribute__((constructor)) static void fill(void)
{
    ssl = dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL);
    crypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
    for (int number = 0; number < COUNT; number++) {
        void *found = find(names[number]);
        if (ssl && !strcmp(names[number], "SSL_CTX_ctrl"))
            found = ctx_ctrl;
        if (ssl && !strcmp(names[number], "SSL_CTX_new"))
            found = ctx_new;
        if (!strcmp(names[number], "SSL_library_init"))
            found = one;
        if (!strcmp(names[number], "CRYPTO_num_locks"))
            found = one;
        compactor_slots[number] = found ? found : nothing;
    }
}
"""


def make(library: Path, home: Path) -> None:
    """Make the stand-ins for what a library asks for, in a folder that exists.

    Raises:
        subprocess.CalledProcessError: they cannot be compiled here.
    """
    names: dict[str, list[str]] = defaultdict(list)
    table = subprocess.run(
        ["objdump", "-T", library], capture_output=True, text=True, check=True
    ).stdout
    for version, name in re.findall(r"\*UND\*.*\((OPENSSL_\S+|CURL_\S+)\)\s+(\S+)$", table, re.M):
        names[version].append(name)
    for stand_in, versions in _STAND_INS.items():
        exported = [name for version in versions for name in names[version]]
        source, script = home / f"{stand_in}.c", home / f"{stand_in}.map"
        source.write_text(_forwarding(exported) if versions is _OPENSSL else _empty(exported))
        script.write_text(_version_script(versions, names))
        subprocess.run(
            [
                "gcc", "-w", "-fno-builtin", "-shared", "-fPIC", "-o", home / stand_in, source,
                f"-Wl,--version-script={script}", f"-Wl,-soname,{stand_in}", "-ldl",
            ],
            check=True,
        )  # fmt: skip


def _empty(names: Sequence[str]) -> str:
    return "".join(f"long {name}(void) {{ return 0; }}\n" for name in names)


def _forwarding(names: Sequence[str]) -> str:
    wanted = ", ".join(f'"{_RENAMED.get(name, name)}"' for name in names)
    text = _OPENSSL_C.replace("COUNT", str(len(names))).replace("NAMES", wanted)
    for number, name in enumerate(names):
        text += (
            f'asm(".text\\n.globl {name}\\n.type {name},@function\\n{name}:\\n'
            f'movq compactor_slots@GOTPCREL(%rip), %r11\\njmp *{8 * number}(%r11)\\n");\n'
        )
    return text


def _version_script(versions: Sequence[str], names: Mapping[str, Sequence[str]]) -> str:
    lines, previous = [], ""
    for version in versions:
        exported = "".join(f"{name}; " for name in names[version])
        hidden = "" if previous else "local: *; "
        lines.append(f"{version} {{ global: {exported}{hidden}}} {previous};\n")
        previous = version
    return "".join(lines)
