#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Checks who includes whom (docs/architecture.md, "The house").

include_rules.py ROOT         checks a checkout
include_rules.py --self-test  shows that each rule can fail
"""
import pathlib
import re
import sys
import tempfile

# Room of src/ -> other rooms of src/ that it may include. "bpf" are the headers of bpf/.
ROOMS = {
    "base": set(),
    "config": {"base"},
    "metrics": {"base"},
    "store": {"base"},
    "enrich": {"base"},
    "symbols": {"base"},
    "net": {"base"},
    "export": {"base", "metrics"},
    "api": {"base"},
    "kernel": {"base", "bpf"},
    "daemon": {"base", "config", "metrics", "store", "enrich", "symbols", "net", "export", "api",
               "kernel", "bpf"},
}
# Libraries that only one room may touch.
ONLY = {
    r"bpf/(libbpf|bpf|btf)\.h": "kernel",
    r"microhttpd\.h": "api",
    r"curl/": "net",
    r"libmnl/": "net",
    r"grpc(pp)?/|grpc\+\+": "net",
    r"toml\+\+/": "config",
}
PUBLIC = {"probe.h", "metric.h", "records.h", "attach.h", "options.h", "peer.h", "result.h", "testkit.h",
          "livekit.h", "probe_table.h"}
QUOTED = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
ANGLED = re.compile(r'^\s*#\s*include\s+<([^>]+)>')


def includes(path):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        for pattern, quoted in ((QUOTED, True), (ANGLED, False)):
            found = pattern.match(line)
            if found:
                yield number, found.group(1), quoted


def sources(folder):
    for pattern in ("*.h", "*.cpp", "*.c"):
        yield from folder.rglob(pattern)


def is_test(path):
    return re.search(r"_(test|bench|live|fuzz)\.cpp$|test_\w+\.h$", path.name) is not None


def check_src(root, problems):
    bpf = {p.name for p in (root / "bpf").glob("*.h")}
    for path in sources(root / "src"):
        parts = path.relative_to(root / "src").parts
        if len(parts) == 1:
            continue  # main.cpp
        room = parts[0]
        if room not in ROOMS:
            problems.append(f"{path}: src/{room} is not a room of the house")
            continue
        for line, name, quoted in includes(path):
            where = f"{path.relative_to(root)}:{line}"
            for pattern, owner in ONLY.items():
                if re.match(pattern, name) and room != owner and not is_test(path) \
                        and not path.name.endswith(".bpf.c"):
                    problems.append(f"{where}: only src/{owner} may include {name}")
            if not quoted:
                continue
            first = name.split("/")[0]
            if first in ROOMS and first != room and first not in ROOMS[room]:
                problems.append(f"{where}: src/{room} may not include src/{first} ({name})")
            if name in bpf and "bpf" not in ROOMS[room]:
                problems.append(f"{where}: src/{room} may not include bpf/{name}")
            if first == "tarsier" and name.split("/")[1] not in PUBLIC:
                problems.append(f"{where}: {name} is not a public header")


def check_probes(root, problems):
    bpf = {p.name for p in (root / "bpf").glob("*.h")} | {"vmlinux.h"}
    for path in sources(root / "probes"):
        folder = path.relative_to(root / "probes").parts[0]
        own = {p.name for p in (root / "probes" / folder).rglob("*.h")}
        for line, name, quoted in includes(path):
            where = f"{path.relative_to(root)}:{line}"
            if not quoted:
                if re.match(r"(prometheus|nlohmann|fmt|spdlog)/", name):
                    problems.append(f"{where}: a probe includes no library ({name})")
                continue
            public = name.startswith("tarsier/") and name.split("/")[1] in PUBLIC
            generated = name.endswith("_object.h")
            if not (public or generated or name in bpf or pathlib.Path(name).name in own):
                problems.append(f"{where}: a probe includes include/tarsier, bpf/ and its own "
                                f"folder, not {name}")


def check_leaves(root, problems):
    for path in (root / "include").rglob("*.h"):
        for line, name, quoted in includes(path):
            if quoted and not name.startswith("tarsier/"):
                problems.append(f"{path.relative_to(root)}:{line}: include/ stands alone, not {name}")
    own = {p.name for p in (root / "bpf").glob("*.h")} | {"vmlinux.h"}
    for path in (root / "bpf").glob("*.h"):
        for line, name, quoted in includes(path):
            if quoted and name not in own:
                problems.append(f"{path.relative_to(root)}:{line}: bpf/ stands alone, not {name}")


def check_spdx(root, problems):
    for top in ("src", "include", "probes", "bpf", "tests"):
        for path in sources(root / top):
            if "vmlinux" in path.parts or "corpus" in path.parts:
                continue
            if "SPDX-License-Identifier" not in path.read_text(errors="replace").split("\n", 1)[0]:
                problems.append(f"{path.relative_to(root)}:1: the first line names the licence")


def check_main(root, problems):
    lines = len((root / "src/main.cpp").read_text().splitlines())
    if lines >= 80:
        problems.append(f"src/main.cpp: {lines} lines; it only starts the commands")


def check(root):
    problems = []
    for rule in (check_src, check_probes, check_leaves, check_spdx, check_main):
        rule(root, problems)
    return problems


def self_test():
    """A made-up house in which every file breaks one rule."""
    spdx = "// SPDX-License-Identifier: x\n"
    broken = {
        "src/metrics/a.cpp": spdx + '#include "enrich/processes.h"\n',
        "src/enrich/a.cpp": spdx + '#include <bpf/libbpf.h>\n',
        "src/config/a.cpp": spdx + '#include "event.h"\n',
        "src/attic/a.cpp": spdx,
        "probes/x/a.cpp": spdx + '#include "metrics/registry.h"\n',
        "probes/x/b.cpp": spdx + '#include "other.h"\n',
        "include/tarsier/a.h": spdx + '#include "base/fd.h"\n',
        "bpf/event.h": spdx + '#include "tcp.h"\n',
        "src/base/a.cpp": "int x;\n",
        "src/main.cpp": spdx + "\n" * 100,
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "tests").mkdir()
        for name, text in broken.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        found = check(root)
        missed = [name for name in broken if not any(name in problem for problem in found)]
    if missed:
        print("not found:", *missed)
        return 1
    return 0


def main():
    if sys.argv[1] == "--self-test":
        return self_test()
    problems = check(pathlib.Path(sys.argv[1]))
    print("\n".join(problems) if problems else "the house is in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
