"""Dynamic Shift-Max for GPUs, in Triton: y = max_k sum_j a[k][j] * x[partner_j], with a forward and a backward kernel.

A program processes a tile of channels and positions of one sample. Programs that run at the same time read the partner
channels too, so these values come from the cache. Programs never write the same values, so results are bitwise
reproducible. Half precision is computed in float32 and rounded once.

Import this module only when it is needed: some PyTorch builds come without Triton.
"""
import torch
import triton
import triton.language as tl
from torch import Tensor

from .deferred import reference_gradients, wants_reference
from .shift_max_formula import reference_shift_max

# Type of x and of the coefficients -> compute type.
TYPES = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
}
MOST = 3  # the largest J and K that the kernels support


@triton.jit
def add(first, second):
    return first + second


@triton.jit
def larger(first, second):
    """Return the maximum, or NaN if either is NaN."""
    return tl.where((second > first) | (second != second), second, first)


@triton.jit
def pick(index: tl.constexpr, first, second, third):
    """Return one of three values, chosen at compile time."""
    return first if index == 0 else (second if index == 1 else third)


@triton.jit
def read(pointers, mask):
    """Load values in the compute type, 0 where masked."""
    values = tl.load(pointers, mask=mask, other=0.0)
    return values if values.dtype == tl.float64 else values.to(tl.float32)


@triton.jit
def tile(channels, positions, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr):
    """Return the channels (BLOCK_C,), positions (BLOCK_S,), sample and position block of this program.

    Position blocks are numbered through all samples. Programs with the same position block are consecutive, because
    they read each other's channels.
    """
    across = (channels + BLOCK_C - 1) // BLOCK_C
    along = (positions + BLOCK_S - 1) // BLOCK_S
    number = tl.program_id(0) // across
    channel = tl.program_id(0) % across * BLOCK_C + tl.arange(0, BLOCK_C)
    position = number % along * BLOCK_S + tl.arange(0, BLOCK_S)
    return channel, position, (number // along).to(tl.int64), number.to(tl.int64)


@triton.jit
def roll(channel, steps: tl.constexpr, channels, groups, PAPER: tl.constexpr):
    """Return the channel that channel_roll moves to ``channel``; ``steps`` is from -2 to 2."""
    width = channels // groups
    p = channel // width + (steps + 2 * groups) % groups
    p = tl.where(p < groups, p, p - groups)
    q = channel % width
    if not PAPER:
        q += (steps + 2 * width) % width
        q = tl.where(q < width, q, q - width)
    return p * width + q


@triton.jit
def offsets(channel, position, channel_stride, position_stride):
    """Return the offsets (BLOCK_C, BLOCK_S) of a tile in its sample. Large samples need 64 bits."""
    return channel.to(tl.int64)[:, None] * channel_stride + position.to(tl.int64)[None, :] * position_stride


@triton.jit
def fuse(a, real, channels, k: tl.constexpr, x0, x1, x2, J: tl.constexpr):
    """Compute fusion k from the values of J partners. ``a`` points to the first coefficient of each channel."""
    # Load first, then reshape to a column: with a column of pointers, every value would load its coefficient again.
    total = read(a + k * J * channels, real)[:, None] * x0
    for j in tl.static_range(1, J):
        total += read(a + (k * J + j) * channels, real)[:, None] * pick(j, x0, x1, x2)
    return total


@triton.jit
def fuse_all(a, real, channels, x0, x1, x2, J: tl.constexpr, K: tl.constexpr):
    """Return three fusions and their maximum. Fusions beyond K repeat the first one."""
    f0 = fuse(a, real, channels, 0, x0, x1, x2, J)
    f1 = fuse(a, real, channels, 1, x0, x1, x2, J) if K > 1 else f0
    f2 = fuse(a, real, channels, 2, x0, x1, x2, J) if K > 2 else f0
    return f0, f1, f2, larger(larger(f0, f1), f2)


@triton.jit
def share(a, real, channels, x0, x1, x2, g, J: tl.constexpr, K: tl.constexpr):
    """Split the gradient g over the fusions: the largest fusion gets all of it, equally large fusions get equal parts.

    If a fusion is NaN, the parts follow PyTorch: the gradient as in torch.maximum (K = 2), or NaN as in torch.amax.
    """
    if K == 1:
        return g, g, g
    else:
        f0, f1, f2, largest = fuse_all(a, real, channels, x0, x1, x2, J, K)
        if K == 2:
            part = tl.where(f0 == f1, g * 0.5, g)
            return tl.where(f0 < f1, 0.0, part), tl.where(f0 > f1, 0.0, part), part
        else:
            equal = (f0 == largest).to(tl.int32) + (f1 == largest).to(tl.int32) + (f2 == largest).to(tl.int32)
            part = tl.where(equal > 2, g / 3, tl.where(equal > 1, g * 0.5, g))
            part = tl.where(equal > 0, part, float('nan'))
            return (tl.where((f0 == largest) | (equal == 0), part, 0.0),
                    tl.where((f1 == largest) | (equal == 0), part, 0.0),
                    tl.where((f2 == largest) | (equal == 0), part, 0.0))


@triton.jit
def hand_over(a, real, channels, j: tl.constexpr, part0, part1, part2, J: tl.constexpr, K: tl.constexpr):
    """Return the gradient of partner j from the gradients of the fusions."""
    total = read(a + j * channels, real)[:, None] * part0
    for k in tl.static_range(1, K):
        total += read(a + (k * J + j) * channels, real)[:, None] * pick(k, part0, part1, part2)
    return total


@triton.jit(do_not_specialize=['channels', 'groups'])
def forward_kernel(x, a, y, channels, positions, channel_stride, position_stride, groups, J: tl.constexpr,
                   K: tl.constexpr, PAPER: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr):
    channel, position, sample, _ = tile(channels, positions, BLOCK_C, BLOCK_S)
    real = channel < channels
    mask = real[:, None] & (position < positions)[None, :]
    x += sample * channels * positions
    y += sample * channels * positions
    a += sample * channels * (J * K)

    # roll(channel, 0) equals channel. But for channels last, Triton would see contiguous values and give them to other
    # threads than the partner values. The values would then have to move between threads.
    here = offsets(roll(channel, 0, channels, groups, PAPER), position, channel_stride, position_stride)
    x0 = read(x + here, mask)
    x1 = x0
    x2 = x0
    if J > 1:
        after = roll(channel, 1, channels, groups, PAPER)
        x1 = read(x + offsets(after, position, channel_stride, position_stride), mask)
    if J > 2:
        after = roll(channel, 2, channels, groups, PAPER)
        x2 = read(x + offsets(after, position, channel_stride, position_stride), mask)
    _, _, _, largest = fuse_all(a + channel, real, channels, x0, x1, x2, J, K)
    tl.store(y + here, largest.to(y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=['channels', 'groups'])
def backward_kernel(x, a, g, gx, ga, channels, positions, channel_stride, position_stride, groups, J: tl.constexpr,
                    K: tl.constexpr, PAPER: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr):
    channel, position, sample, number = tile(channels, positions, BLOCK_C, BLOCK_S)
    real = channel < channels
    mask = real[:, None] & (position < positions)[None, :]
    x += sample * channels * positions
    g += sample * channels * positions
    gx += sample * channels * positions
    a += sample * channels * (J * K)
    ga += number * channels * (J * K)

    # Output c: keep the gradients of its fusions for the gradient of its coefficients.
    here = offsets(roll(channel, 0, channels, groups, PAPER), position, channel_stride, position_stride)
    x0 = read(x + here, mask)
    x1 = x0
    x2 = x0
    if J > 1:
        after = roll(channel, 1, channels, groups, PAPER)
        x1 = read(x + offsets(after, position, channel_stride, position_stride), mask)
    if J > 2:
        after = roll(channel, 2, channels, groups, PAPER)
        x2 = read(x + offsets(after, position, channel_stride, position_stride), mask)
    part0, part1, part2 = share(a + channel, real, channels, x0, x1, x2, read(g + here, mask), J, K)

    # Input c is partner 0 of output c, partner 1 of the output one shift back, partner 2 of the output two shifts back.
    total = hand_over(a + channel, real, channels, 0, part0, part1, part2, J, K)
    if J > 1:
        one = roll(channel, -1, channels, groups, PAPER)
        there = offsets(one, position, channel_stride, position_stride)
        before1 = read(x + there, mask)
        p0, p1, p2 = share(a + one, real, channels, before1, x0, x1, read(g + there, mask), J, K)
        total += hand_over(a + one, real, channels, 1, p0, p1, p2, J, K)
    if J > 2:
        two = roll(channel, -2, channels, groups, PAPER)
        there = offsets(two, position, channel_stride, position_stride)
        before2 = read(x + there, mask)
        p0, p1, p2 = share(a + two, real, channels, before2, before1, x0, read(g + there, mask), J, K)
        total += hand_over(a + two, real, channels, 2, p0, p1, p2, J, K)
    tl.store(gx + here, total.to(gx.dtype.element_ty), mask=mask)

    for k in tl.static_range(K):
        for j in tl.static_range(J):
            sums = tl.reduce(pick(k, part0, part1, part2) * pick(j, x0, x1, x2), 1, add)
            tl.store(ga + (k * J + j) * channels + channel, sums, mask=real)


def is_channels_last(x: Tensor) -> bool:
    """Whether to read the dense ``x`` as channels last.

    With one position ``x`` has both layouts, and the channels are the longer row.
    """
    return x.shape[2:].numel() == 1 or not x.is_contiguous()


def blocks(x: Tensor) -> tuple[int, int, int]:
    """Return BLOCK_C, BLOCK_S and the number of warps for the dense ``x``: long memory rows, few channels per thread.

    The result depends only on the shape and the layout. Autotuning could change the blocks and so the last bits of the
    sums.
    """
    channels, positions = (triton.next_power_of_2(size) for size in (x.shape[1], x.shape[2:].numel()))
    if is_channels_last(x):
        block_c, block_s = min(channels, 32), min(positions, 64)
        return block_c, block_s, max(1, block_c * block_s // 256)
    block_s = min(positions, 512)
    return min(channels, max(1, 256 // block_s)), block_s, max(1, block_s // 128)


def launch(kernel, tensors: tuple[Tensor, ...], groups: int, shift: str) -> None:
    """Run a kernel on ``x``, its coefficients and further tensors. Maps must have the memory layout of ``x``."""
    x, coefficients = tensors[:2]
    n, c, s = len(x), x.shape[1], x.shape[2:].numel()
    fusions, shifts = coefficients.shape[1:3]
    strides = (1, c) if is_channels_last(x) else (s, 1)
    block_c, block_s, warps = blocks(x)
    programs = n * triton.cdiv(c, block_c) * triton.cdiv(s, block_s)
    with torch.cuda.device_of(x):
        # Round products before adding them, as PyTorch does, so that equal fusions stay equal.
        kernel[(programs, )](*tensors, c, s, *strides, groups, J=shifts, K=fusions, PAPER=shift == 'paper',
                             BLOCK_C=block_c, BLOCK_S=block_s, num_warps=warps, enable_fp_fusion=False)


def dense(x: Tensor) -> Tensor:
    """Return ``x`` without gaps, channels first or last."""
    return x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


class TritonShiftMax(torch.autograd.Function):
    """Triton implementation. Saves the input and the coefficients; the output keeps the input's memory format."""

    @staticmethod
    def has_code(dtype: torch.dtype, shifts: int, fusions: int) -> bool:
        return dtype in TYPES and max(shifts, fusions) <= MOST

    @staticmethod
    def forward(ctx, x: Tensor, coefficients: Tensor, groups: int, shift: str) -> Tensor:
        ctx.save_for_backward(x, coefficients)
        ctx.settings = groups, shift
        x = dense(x)
        y = torch.empty_like(x)
        if x.numel():
            launch(forward_kernel, (x, coefficients.contiguous(), y), groups, shift)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        x, coefficients = ctx.saved_tensors
        if wants_reference(gradient):
            found = reference_gradients(reference_shift_max, (x, coefficients), (gradient, ), *ctx.settings)
            return *found, None, None
        x = dense(x)
        gx = torch.empty_like(x)
        if not x.numel():
            return gx, torch.zeros_like(coefficients), None, None
        gradient = gradient.contiguous(memory_format=torch.contiguous_format if x.is_contiguous() else
                                       torch.channels_last)
        # Every program writes the sums over its positions. The blocks are added here, always in the same order.
        parts = triton.cdiv(x.shape[2:].numel(), blocks(x)[1])
        ga = x.new_empty(len(x), parts, *coefficients.shape[1:], dtype=TYPES[x.dtype])
        launch(backward_kernel, (x, coefficients.contiguous(), gradient, gx, ga), *ctx.settings)
        return gx, (ga.sum(1) if parts > 1 else ga[:, 0]).to(coefficients.dtype), None, None
