"""Tools that MMLab's packages bring with them, run as if they were ours."""
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path


def tool_of(package: str, name: str) -> Path:
    """The file of a tool; ImportError if the package is not installed, or was without it."""
    spec = find_spec(package)
    if spec is None:
        raise ImportError(f'{package} is not installed, whose tool does this.')
    tool = Path(spec.origin).parent / '.mim' / 'tools' / name
    if not tool.is_file():
        raise ImportError(f'{package} was installed without its tool {name}; install its wheel.')
    return tool


def run(tool: Path) -> None:
    """Run a tool with the arguments of this program."""
    sys.argv[0] = str(tool)
    sys.path.insert(0, str(tool.parent))
    runpy.run_path(str(tool), run_name='__main__')
