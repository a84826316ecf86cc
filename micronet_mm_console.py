"""``micronet-mm COMMAND ...``: what the modules of micronet_mm/commands do.

A module apart from the package, since importing that imports PyTorch: help should not wait for it, and how the process
waits for its threads is set before it.
"""
import ast
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

COMMANDS = Path(__file__).parent / 'micronet_mm' / 'commands'
MODULES = {'train': 'train', 'test': 'test', 'export': 'export', 'find-poses': 'find_poses', 'flops': 'flops',
           'convert': 'convert', 'models': 'models'}
MORE = """'micronet-mm COMMAND --help' says more. A config is named by its path, or by the name of one that comes with
the package: retinanet_micronet_m3."""


def overview() -> str:
    """The commands, each with the first line of its module's docstring."""
    lines = []
    for name, module in MODULES.items():
        code = ast.parse((COMMANDS / f'{module}.py').read_text(encoding='utf-8'))
        lines.append(f'  {name:12}{ast.get_docstring(code).splitlines()[0]}')
    return '\n'.join(['usage: micronet-mm COMMAND ...', '', *lines, '', MORE])


def main() -> None:
    name, *arguments = sys.argv[1:] or ['--help']
    if name in ('-h', '--help'):
        print(overview())
        return
    if name == '--version':
        from importlib.metadata import version
        print(version('micronet-mm'))
        return
    if name not in MODULES:
        like = get_close_matches(name, MODULES, n=1)
        sys.exit(f'error: micronet-mm has no command {name!r}; {", ".join(MODULES)} are there'
                 f'{f", {like[0]} is the nearest" if like else ""}.')
    import micronet_mm_process  # noqa: F401
    try:
        import micronet_mm  # noqa: F401
    except ModuleNotFoundError as error:  # the wheel without extras, or with those of the runtime
        sys.exit(f'error: {error}')
    sys.argv = [f'micronet-mm {name}', *arguments]
    import_module(f'micronet_mm.commands.{MODULES[name]}').main()


if __name__ == '__main__':
    main()
