"""What each module may know, and how large it may be: read from the imports and the syntax of the source itself."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from importlib import import_module, metadata
from pathlib import Path

import pytest

from local import run
from tokenkeeper import errors
from tokenkeeper.errors import KeeperError

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "functions" / "tokenkeeper"
LARGEST_FILE = 300  # lines
LARGEST_CLASS = 200

# From bottom to top: a module imports from its own floor or from one below, never from one above.
FLOORS = (
    {"clock", "secret", "checks", "errors", "events"},
    {"log", "settings", "grant"},
    {"payload", "connection"},
    {"transitions", "start", "http"},
    {"store", "tiktok"},
    {"connect", "refresh"},
    {"cli"},
    {"__main__"},
)
INFRA_FLOORS = (
    {"local", "local.exchange", "local.wire", "local.serving"},
    {"local.secret_manager", "local.tiktok", "gcp", "readers"},
    {"local.addresses", "local.processes"},
    {"local.setup", "local.banner", "local.show"},
    {"local.launch", "local.run"},
)
# Who never knows whom, neither directly nor by way of others, though no floor forbids it.
IO, RENEWING = {"log", "settings", "store", "tiktok"}, {"refresh.renew", "refresh.reconcile"}
NEVER = {
    **dict.fromkeys(("grant", "payload", "connection", "transitions", "connect.links"), IO),
    "tiktok.codes": IO - {"tiktok"},
    "tiktok": {"store"},
    "store": {"tiktok"},
    "connect": {"refresh"},
    "refresh": {"connect"},
    # The path of a token that cannot be refreshed is read without what refreshes and reconciles.
    **dict.fromkeys(("refresh.verify", "refresh.plan"), RENEWING),
}


def sources(folder: Path) -> dict[str, str]:
    """The modules below a folder by their dotted name, the folder's own name left out."""
    files = {file.relative_to(folder).with_suffix(""): file for file in sorted(folder.rglob("*.py"))}
    named = {".".join(path.parts).removesuffix("__init__").rstrip("."): file for path, file in files.items()}
    return {name: file.read_text(encoding="utf-8") for name, file in named.items() if name}


PRODUCT, INFRA = sources(PACKAGE), sources(ROOT / "infra")


def imports(source: str, known: Mapping[str, str], package: str) -> set[str]:
    """The modules of `known` that a module imports when it is loaded or, in a function, later; not for types alone."""
    found = set()
    for node in _executed(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full.removeprefix(package) in known else node.module for full in names.values()}
    return {name for full in found if (name := full.removeprefix(package)) in known}


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _executed(node)


GRAPH = {name: imports(source, PRODUCT, "tokenkeeper.") for name, source in PRODUCT.items()}
INFRA_GRAPH = {name: imports(source, INFRA, "") - {name} for name, source in INFRA.items()}


def reached(*names: str) -> set[str]:
    """The product's modules that these import, directly or not."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        waiting = set().union(*(GRAPH[name] for name in waiting)) - found
        found |= waiting
    return found


def folder(name: str) -> str:
    """A module's folder, or its own name where it is in none."""
    return name.partition(".")[0]


def floor(name: str, floors: Sequence[set[str]]) -> int:
    """The floor that a module, or the folder that it is in, is on."""
    parts = name.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next(number for one in names for number, rooms in enumerate(floors) if one in rooms)


def having(pattern: str, sources: Mapping[str, str] = PRODUCT) -> set[str]:
    """The modules with a line that this pattern is found in."""
    return {name for name, source in sources.items() if re.search(pattern, source, re.MULTILINE)}


def importing(package: str, sources: Mapping[str, str] = PRODUCT) -> set[str]:
    """The modules that import a package, or one that a pattern names."""
    return having(rf"^\s*(from|import) ({package})\b", sources)


class TestImports:
    @pytest.mark.parametrize("graph", [GRAPH, INFRA_GRAPH], ids=["functions", "infra"])
    def test_no_circle(self, graph: Mapping[str, set[str]]) -> None:
        """No module imports itself by way of others: the sorter raises otherwise."""
        assert any(graph.values())
        TopologicalSorter(graph).prepare()

    @pytest.mark.parametrize(
        ("graph", "floors"), [(GRAPH, FLOORS), (INFRA_GRAPH, INFRA_FLOORS)], ids=["functions", "infra"]
    )
    def test_none_upwards(self, graph: Mapping[str, set[str]], floors: Sequence[set[str]]) -> None:
        """A module knows its own floor and those below; a new one is put on a floor before anybody imports it."""
        on = {name: floor(name, floors) for name in graph}
        assert [f"{name} -> {other}" for name in graph for other in graph[name] if on[other] > on[name]] == []

    @pytest.mark.parametrize("one", NEVER)
    def test_none_of_these(self, one: str) -> None:
        """What is pure does no I/O and can be tested without a server; what TikTok and the store know stays apart."""
        members = [name for name in PRODUCT if one in {name, folder(name)}]
        assert members
        assert {known for name in reached(*members) for known in (name, folder(name))} & NEVER[one] == set()

    def test_the_emulators_and_the_deployment_know_nothing_of_the_product(self) -> None:
        """But for what starts them beside the functions or compares the source; the functions know nothing of them."""
        assert importing("tokenkeeper", INFRA) <= INFRA_FLOORS[-2] | INFRA_FLOORS[-1] | {"gcp.deploy.deployed"}
        assert importing("local") == set()

    def test_the_reader_for_pipelines_stands_alone(self) -> None:
        """It is copied into pipelines: the standard library, Google's client and what comes with that are enough."""
        imported = set(re.findall(r"^\s*(?:from|import) (\w+)", INFRA["readers.tiktok_token"], re.MULTILINE))
        assert imported - sys.stdlib_module_names <= {"google", "requests"}


ONLY = {
    "reads the environment": ("settings", r"\bos\.(environ|getenv)\b|from os import"),
    "writes logs": ("log", r"\bprint\(|\bimport logging\b|\blogging\.getLogger\b"),
    "knows the time": ("clock", r"^\s*(import|from) time\b|\bdatetime\.(now|utcnow|today)\b|\bdate\.today\b"),
    "knows HTML": ("connect.pages", r"^\s*(import|from) (jinja2|markupsafe|html)\b"),
}


class TestOnePlace:
    @pytest.mark.parametrize("does", ONLY)
    def test_does_what_nobody_else_does(self, does: str) -> None:
        """Every variable is found in `settings`; a test that moves `clock` moves it for everybody."""
        module, pattern = ONLY[does]
        assert having(pattern) == {module}

    def test_writes_to_a_stream(self) -> None:
        """What a command says to its terminal is no log."""
        assert {folder(name) for name in having(r"\bsys\.(stdout|stderr)\b")} - {"cli", "__main__"} == {"log"}

    def test_touches_googles_client(self) -> None:
        """Outside of `store` everybody speaks of secrets and versions; the command line logs in to Cloud Run."""
        assert {folder(name) for name in importing(r"google\.cloud|google_\w+")} <= {"store"}
        assert {folder(name) for name in importing(r"google\.\w+")} == {"store", "cli"}


def test_make_run_installs_all_that_is_imported() -> None:
    """It installs functions/requirements.txt alone: what only the tests have may not be asked for."""
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "functions/requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    files = {str(file) for name in pinned for file in _files(name)}
    local = {name: source for name, source in INFRA.items() if folder(name) == "local"}
    nodes = [node for source in (*PRODUCT.values(), *local.values()) for node in ast.walk(ast.parse(source))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    foreign = {name for name in names if folder(name) not in {*sys.stdlib_module_names, "tokenkeeper", "local"}}
    paths = {name: name.replace(".", "/") for name in {*foreign, *run.PACKAGES}}
    assert {name for name, path in paths.items() if not {f"{path}.py", f"{path}/__init__.py"} & files} == set()


def test_the_tree_of_errors_is_as_it_is_drawn() -> None:
    """Every error of the product stands in the docstring of `errors`, below the one that it derives from."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").split("```")[1].strip().splitlines():
        indent, name = re.findall(r"^([ │├└─]*)(\w+)", line)[0]
        path[len(indent) // 4 :] = [name]
        drawn[name] = path[-2] if len(path) > 1 else "Exception"
    for name in PRODUCT.keys() - {"__main__"}:
        import_module(f"tokenkeeper.{name}")
    found, new = {KeeperError: "Exception"}, [KeeperError]
    while new:
        derived = [(error, above) for above in new for error in above.__subclasses__()]
        found |= {error: above.__name__ for error, above in derived}
        new = [error for error, _ in derived]
    assert {one.__name__: above for one, above in found.items() if one.__module__.startswith("tokenkeeper.")} == drawn


def test_no_file_and_no_class_is_long() -> None:
    """A file has one subject, of at most 300 lines; a class of at most 200."""
    long = set()
    for name, source in (PRODUCT | INFRA | {"main": (ROOT / "functions/main.py").read_text(encoding="utf-8")}).items():
        classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
        long |= {f"{name}: {one.name}" for one in classes if (one.end_lineno or 0) - one.lineno >= LARGEST_CLASS}
        long |= {name} if len(source.splitlines()) > LARGEST_FILE else set()
    assert long == set()


def _files(package: str) -> list[metadata.PackagePath]:
    try:
        return metadata.files(package) or []
    except metadata.PackageNotFoundError:  # for another platform
        return []
