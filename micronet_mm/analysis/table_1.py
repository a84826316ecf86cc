"""A network as a row-by-row table in the manner of Table 1 of the paper, with what the released models add."""
from typing import Union

from micronet_mm.models.arch import Arch, Row, get_arch
from micronet_mm.validation import COUNT, checked

HEAD = ('output', 'block', 'k', 'C', 'C / R', 'width', 'g1, g2', 'g3, g4', 'Shift-Max')


@checked(size=COUNT)
def table_1(arch: Union[str, Arch], size: int = 224) -> str:
    """A Markdown table.

    C is the width between the convolutions, and C / R what it is compressed to: in a Micro-Block-A its output, in B and
    C what the block reads, since the paper has a block begin at the depthwise convolution, and we at the expansion
    before it. The width is that of the output. Groups are those of :class:`micronet_mm.models.arch.Row`.

    Args:
        arch: a name or a table, as for :class:`micronet_mm.models.MicroNet`.
        size: height and width of the image.

    Raises:
        ValueError: if there is no such network, or the size is below 1.
    """
    network = get_arch(arch)
    width, size = network.stem[0] * network.stem[1], (size + 1) // 2
    lines = [HEAD, ('---', ) * len(HEAD), (f'{size} x {size}', 'stem', '3', '', '', f'{width}', '', '', '')]
    for row in network.rows:
        size = (size + row.stride - 1) // row.stride
        lines.append((f'{size} x {size}', *columns(row, width)))
        width = row.channels
    lines.append(('1 x 1', 'classifier', '', f'{network.classifier}', '', 'classes', '', '', ''))
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def columns(row: Row, inputs: int) -> tuple[str, ...]:
    """All but the first, of a block that reads so many channels."""
    active = ', '.join(f'A{number}' for number, is_dynamic in enumerate(row.dynamic, 1) if is_dynamic)
    default = '-' if row.kind == 'A' else 'Eq. 3'  # an A has no first convolution
    groups = [', '.join(str(number or default) for number in pair or ()) for pair in (row.groups1, row.groups2)]
    if row.kind == 'E':
        return 'expansion', '', '', '', f'{row.channels}', *groups, active
    hidden = inputs * row.expansion[0] * row.expansion[1]
    narrow = row.channels if row.kind == 'A' else inputs
    return f'Micro-{row.kind}', f'{row.kernel}', f'{hidden}', f'{narrow}', f'{row.channels}', *groups, active
