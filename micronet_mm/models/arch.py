"""The networks as tables (section 5.2 and Table 1 of the paper, with what the released models add)."""
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Mapping, Optional, Union

from micronet_mm.validation import BOOL, COUNT, NUMBER, ODD, Constraint, check, one_of, optional, sequence_of, shown

Pair = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One block.

    Attributes:
        kind: 'A', 'B' or 'C' for the Micro-Blocks of figure 4, 'E' for the expansion that ends the network.
        stride: 1 or 2.
        channels: output channels C.
        kernel: k of the depthwise convolution; None in an 'E'.
        expansion: (e1, e2); the hidden width of A, B and C is Cin * e1 * e2. None in an 'E', which ends at C.
        groups1: (g1, g2), groups of the first pointwise convolution and of the activation after it; None for Eq. 3.
        groups2: (g3, g4), groups of the second pointwise convolution and of A3; None in an 'E'.
        dynamic: which of A1, A2, A3 are Dynamic Shift-Max.
        ratio: r; the base reduction of the squeeze is R = 8 * r.
    """
    kind: str
    stride: int
    channels: int
    kernel: Optional[int] = None
    expansion: Optional[Pair] = None
    groups1: Optional[tuple[Optional[int], int]] = None
    groups2: Optional[Pair] = None
    dynamic: tuple[bool, bool, bool] = (True, True, True)
    ratio: int = 1


@dataclass(frozen=True)
class Arch:
    """A network.

    Attributes:
        stem: (s1, s2), see :class:`~micronet_mm.models.MicroStem`.
        rows: the blocks, first to last.
        classifier: hidden width of the ImageNet classifier.
        init: (init_a, init_b), initial coefficients of Dynamic Shift-Max with K > 1.
    """
    stem: Pair
    rows: tuple[Row, ...]
    classifier: int = 1024
    init: tuple[tuple[float, ...], ...] = ((1, 1), (0, 0))


ARCHS = dict(
    m0=Arch(stem=(2, 2), classifier=640, init=((1, 1), (0, 0)), rows=(
        #    s    C  k  e1,e2   g1,g2       g3,g4   A1 A2 A3   r
        Row('A', 2,   8, 3, (2, 2), (None, 4),  (2, 2), (0, 0, 1), 1),
        Row('A', 2,  12, 3, (2, 2), (None, 8),  (4, 4), (0, 1, 1), 1),
        Row('A', 2,  16, 5, (2, 2), (None, 12), (4, 4), (0, 1, 1), 1),
        Row('B', 1,  32, 5, (1, 4), (4, 4),     (4, 4), (1, 1, 1), 1),
        Row('C', 2,  64, 5, (1, 4), (8, 8),     (8, 8), (1, 1, 1), 1),
        Row('C', 1,  96, 3, (1, 4), (8, 8),     (8, 8), (1, 1, 1), 2),
        Row('E', 1, 384, None, None, (12, 12),  None,   (0, 0, 1), 2),
    )),
    m1=Arch(stem=(3, 2), classifier=960, init=((1, 1), (0, 0)), rows=(
        Row('A', 2,   8, 3, (2, 2), (None, 6),  (2, 2), (0, 0, 1), 1),
        Row('A', 2,  16, 3, (2, 2), (None, 8),  (4, 4), (0, 1, 1), 1),
        Row('A', 2,  16, 5, (2, 2), (None, 16), (4, 4), (0, 1, 1), 1),
        Row('B', 1,  32, 5, (1, 6), (4, 4),     (4, 4), (1, 1, 1), 1),
        Row('C', 2,  64, 5, (1, 6), (8, 8),     (8, 8), (1, 1, 1), 1),
        Row('C', 1,  96, 3, (1, 6), (8, 8),     (8, 8), (1, 1, 1), 2),
        Row('E', 1, 576, None, None, (12, 12),  None,   (0, 0, 1), 2),
    )),
    m2=Arch(stem=(4, 2), classifier=1024, init=((1, 1), (0, 0)), rows=(
        Row('A', 2,  12, 3, (2, 2), (None, 8),  (4, 4), (0, 0, 1), 1),
        Row('A', 2,  16, 3, (2, 2), (None, 12), (4, 4), (0, 1, 1), 1),
        Row('A', 1,  24, 3, (2, 2), (None, 16), (4, 4), (0, 1, 1), 1),
        Row('B', 2,  32, 5, (1, 6), (6, 6),     (4, 4), (1, 1, 1), 1),
        Row('C', 1,  32, 5, (1, 6), (8, 8),     (4, 4), (1, 1, 1), 2),
        Row('C', 1,  64, 5, (1, 6), (8, 8),     (8, 8), (1, 1, 1), 2),
        Row('C', 2,  96, 5, (1, 6), (8, 8),     (8, 8), (1, 1, 1), 2),
        Row('C', 1, 128, 3, (1, 6), (12, 12),   (8, 8), (1, 1, 1), 2),
        Row('E', 1, 768, None, None, (16, 16),  None,   (0, 0, 1), 2),
    )),
    m3=Arch(stem=(4, 3), classifier=1024, init=((1, 0.5), (0, 0.5)), rows=(
        Row('A', 2,  16, 3, (2, 2), (None, 12), (4, 4),   (0, 1, 0), 1),
        Row('A', 2,  24, 3, (2, 2), (None, 16), (4, 4),   (0, 1, 0), 1),
        Row('A', 1,  24, 3, (2, 2), (None, 24), (4, 4),   (0, 1, 0), 1),
        Row('B', 2,  32, 5, (1, 6), (6, 6),     (4, 4),   (0, 1, 0), 1),
        Row('C', 1,  32, 5, (1, 6), (8, 8),     (4, 4),   (0, 1, 0), 2),
        Row('C', 1,  64, 5, (1, 6), (8, 8),     (8, 8),   (0, 1, 0), 2),
        Row('C', 1,  80, 5, (1, 6), (8, 8),     (8, 8),   (0, 1, 0), 2),
        Row('C', 1,  80, 5, (1, 6), (10, 10),   (8, 8),   (0, 1, 0), 2),
        Row('C', 2, 120, 5, (1, 6), (10, 10),   (10, 10), (0, 1, 0), 2),
        Row('C', 1, 120, 5, (1, 6), (12, 12),   (10, 10), (0, 1, 0), 2),
        Row('C', 1, 144, 3, (1, 6), (12, 12),   (12, 12), (0, 1, 0), 2),
        Row('E', 1, 864, None, None, (12, 12),  None,     (0, 0, 0), 2),
    )),
)
RELEASED = tuple(ARCHS)


def sharpen(arch: Arch, last: int, classifier: int, widths: Mapping[int, int] = MappingProxyType({})) -> Arch:
    """Return a variant '#' of Table 7: doubled squeeze ratios, a narrower last layer and classifier.

    The paper did not publish these networks. ``last``, ``classifier`` and, if needed, ``widths`` (row -> channels) are
    chosen so that parameters and multiply-adds round to the values of Table 7. Groups of a changed width follow Eq. 3.
    """
    rows = [replace(row, ratio=2 * row.ratio) for row in arch.rows]
    for i, channels in {**widths, len(rows) - 1: last}.items():
        rows[i] = replace(rows[i], channels=channels, groups2=None)
        if i + 1 < len(rows):
            rows[i + 1] = replace(rows[i + 1], groups1=None)
    return replace(arch, rows=tuple(rows), classifier=classifier)


ARCHS.update(
    m1_sharp=sharpen(ARCHS['m1'], last=384, classifier=768),
    m2_sharp=sharpen(ARCHS['m2'], last=384, classifier=800, widths={5: 48, 7: 96}),
    m3_sharp=sharpen(ARCHS['m3'], last=576, classifier=736),
)


GROUPS = optional(sequence_of(optional(COUNT, 'Eq. 3'), 2), 'Eq. 3')
ROW = dict(kind=one_of('A', 'B', 'C', 'E'), stride=one_of(1, 2), channels=COUNT, kernel=optional(ODD),
           expansion=optional(sequence_of(COUNT, 2)), groups1=GROUPS, groups2=GROUPS, dynamic=sequence_of(BOOL, 3),
           ratio=COUNT)
ROWS = sequence_of(Constraint('a Row or a dict of its fields', lambda value: isinstance(value, (Row, Mapping))))
ARCH = dict(stem=sequence_of(COUNT, 2), rows=ROWS, classifier=COUNT, init=sequence_of(sequence_of(NUMBER)))


def _from_mapping(cls: type, what: str, given: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(cls)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f'{what} has no field {shown(unknown[0])}; its fields are {sorted(known)}.')
    try:
        return cls(**given)
    except TypeError as error:
        raise ValueError(f'{what} is incomplete: {error}.') from None


def get_arch(arch: Union[str, Arch, Mapping[str, Any]]) -> Arch:
    """Return the table of a name ('m0' to 'm3', 'm1_sharp' to 'm3_sharp') or a validated custom table.

    A custom table is an :class:`Arch`, or nested dicts of its fields as in a config file.

    Raises:
        ValueError: if the name or a field is unknown, or a row cannot be a block of the network.

    Example:
        >>> get_arch('m3').rows[-1].channels
        864
        >>> get_arch(dict(stem=(4, 2), rows=[dict(kind='A', stride=2, channels=12, kernel=3, expansion=(2, 2))])).stem
        (4, 2)
    """
    if isinstance(arch, str):
        if arch.lower() not in ARCHS:
            raise ValueError(f'arch={shown(arch)} is unknown; use one of {sorted(ARCHS)}, or your own table '
                             '(micronet_mm.models.Arch, or its fields as a dict).')
        return ARCHS[arch.lower()]
    if isinstance(arch, Mapping):
        arch = _from_mapping(Arch, 'the arch', arch)
    if not isinstance(arch, Arch):
        raise ValueError(f'arch must be a name, an Arch or a dict of its fields, got {type(arch).__name__}.')
    check('the arch', ARCH, vars(arch))
    rows = tuple(row if isinstance(row, Row) else _from_mapping(Row, f'row {i} of the arch', row)
                 for i, row in enumerate(arch.rows))
    for i, row in enumerate(rows):
        _check_row(i, row)
    if not 1 <= sum(row.stride == 2 for row in rows) <= 4:
        raise ValueError('an arch needs one to four blocks of stride 2: after the stem they make strides 4 to 32.')
    return replace(arch, rows=rows)


def _check_row(index: int, row: Row) -> None:
    check(f'row {index} of the arch', ROW, vars(row))
    where = f'row {index} of the arch ({shown(row.kind)}, {row.channels} channels)'
    if row.kind == 'E' and row.stride != 1:
        raise ValueError(f"{where}: stride={row.stride} is not allowed; it is 1 in an 'E'.")
    if row.kind != 'E' and (row.kernel is None or row.expansion is None):
        raise ValueError(f'{where}: kernel and expansion are needed.')
    if index == 0 and row.stride != 2:
        raise ValueError(f'{where}: the first block must have stride 2, since stages count from stride 4.')
