"""What stands in for mmcv's compiled operators computes what they compute.

Compared with definitions and formulas everywhere, and with the compiled operators where these are installed and have
code for the device: on CPUs that is all but RoIPool, the focal losses and deformable attention.
"""
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('torchvision')
import mmcv.ops

from micronet_mm.fallbacks import mmcv_ext

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
INSTALLED = sys.modules['mmcv._ext']
COMPILED = None if hasattr(INSTALLED, 'MissingOperatorError') else INSTALLED
beside_compiled = pytest.mark.skipif(COMPILED is None, reason="mmcv's compiled operators are not installed")
on_cuda = pytest.mark.skipif(DEVICE == 'cpu', reason='mmcv has compiled it for CUDA only')
RIVALS = ['formula', pytest.param('compiled', marks=beside_compiled)]
RIVALS_ON_CUDA = ['formula', pytest.param('compiled', marks=[beside_compiled, on_cuda])]


def use(extension):
    """mmcv.ops, calling these operators."""
    for name in ('nms', 'roi_align', 'roi_pool', 'deform_conv', 'modulated_deform_conv', 'focal_loss',
                 'multi_scale_deform_attn'):
        sys.modules[f'mmcv.ops.{name}'].ext_module = extension
    return mmcv.ops


@pytest.fixture(autouse=True)
def the_installed_ones_afterwards():
    yield
    use(INSTALLED)


# Non-maximum suppression.


def random_boxes(rng, count):
    """Boxes (N, 4) and scores (N): many overlap, some have no area, are the same or have the same score."""
    corners = rng.integers(0, 40, (count, 2)) * (1 if rng.random() < 0.5 else rng.random())
    sizes = rng.integers(0, 30, (count, 2)) * rng.integers(0, 2, (count, 1)).clip(rng.integers(0, 2))
    boxes = np.concatenate([corners, corners + sizes], 1)
    boxes[rng.random(count) < 0.2] = boxes[:1]
    scores = rng.integers(0, 12, count) / 12 if rng.random() < 0.5 else rng.random(count)
    return tuple(torch.tensor(values, dtype=torch.float32, device=DEVICE) for values in (boxes, scores))


def overlap(a, b, offset=0):
    """Intersection over union, in single precision."""
    zero, offset = np.float32(0), np.float32(offset)
    width = max(zero, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(zero, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area_a, area_b = ((c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b))
    with np.errstate(invalid='ignore'):
        return width * height / (area_a + area_b - width * height)


def nms_by_definition(boxes, scores, threshold, offset):
    boxes, kept = boxes.cpu().numpy(), []
    for index in scores.sort(0, descending=True)[1].tolist():
        if not any(overlap(boxes[other], boxes[index], offset) > np.float32(threshold) for other in kept):
            kept.append(index)
    return kept


@pytest.mark.parametrize('rival', RIVALS)
def test_nms_of_random_sets(rival):
    rng = np.random.default_rng(0)
    for number in range(1000 if rival == 'compiled' else 150):
        boxes, scores = random_boxes(rng, number % 40)
        threshold, offset = float(rng.choice([0.3, 0.5, 0.7])), number % 2
        found = mmcv_ext.nms(boxes, scores, threshold, offset)
        reference = COMPILED.nms if rival == 'compiled' else nms_by_definition
        assert found.tolist() == torch.as_tensor(reference(boxes, scores, threshold, offset)).tolist(), number
        assert found.dtype == torch.int64


def test_an_overlap_of_just_the_threshold_is_kept():
    boxes = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 3]], device=DEVICE)  # 0.3, which single precision rounds up
    assert mmcv_ext.nms(boxes, torch.tensor([1., 0.5], device=DEVICE), 0.3, 0).tolist() == [0, 1]


@beside_compiled
def test_batched_nms():
    rng = np.random.default_rng(1)
    for number in range(200):
        boxes, scores = random_boxes(rng, 1 + number % 40)
        labels = torch.tensor(rng.integers(0, 3, len(boxes)), device=DEVICE)
        config = dict(type=['nms', 'soft_nms'][number % 2], iou_threshold=0.5, split_thr=20 if number % 3 else 10_000)
        dets, keep = zip(*(use(extension).batched_nms(boxes, scores, labels, dict(config))
                           for extension in (mmcv_ext, COMPILED)))
        assert torch.equal(*keep), number
        torch.testing.assert_close(*dets)


def soft_nms_by_definition(boxes, scores, threshold, sigma, min_score, method):
    """Index and score of what is chosen, one after the other."""
    boxes, scores, left, chosen = boxes.numpy(), scores.tolist(), list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda index: scores[index])
        left.remove(best)
        chosen.append((best, scores[best]))
        for index in left:
            u = overlap(boxes[best], boxes[index])
            if method == 2:
                scores[index] *= np.exp(-u * u / sigma)
            elif u >= threshold:
                scores[index] *= 1 - u if method == 1 else 0
        left = [index for index in left if scores[index] >= min_score]
    return chosen


@pytest.mark.parametrize('method', [0, 1, 2])
def test_soft_nms_is_its_definition(method):
    generator = torch.Generator().manual_seed(method)
    for number in range(40):
        boxes = torch.rand(1 + number % 30, 4, generator=generator)
        boxes[:, 2:] += boxes[:, :2]
        scores = torch.rand(len(boxes), generator=generator)
        dets = torch.zeros(len(boxes), 5)
        found = mmcv_ext.softnms(boxes, scores, dets, 0.3, 0.5, 1e-3, method, 0)
        chosen = soft_nms_by_definition(boxes, scores, 0.3, 0.5, 1e-3, method)
        assert found.tolist() == [index for index, _ in chosen]
        assert dets[:len(found), 4].tolist() == pytest.approx([score for _, score in chosen], rel=1e-5)
        assert torch.equal(dets[:len(found), :4], boxes[found])


@beside_compiled
@pytest.mark.parametrize('method', [0, 1, 2])
def test_soft_nms_chooses_as_compiled_where_scores_are_equal(method):
    rng = np.random.default_rng(method)
    for number in range(300):
        boxes, scores = (tensor.cpu() for tensor in random_boxes(rng, 1 + number % 30))
        arguments = (0.3, 0.5, 1e-3, method, number % 2)
        ours, theirs = torch.zeros(len(boxes), 5), torch.zeros(len(boxes), 5)
        found = mmcv_ext.softnms(boxes, scores, ours, *arguments)
        assert torch.equal(found, COMPILED.softnms(boxes, scores, theirs, *arguments)), number
        torch.testing.assert_close(ours[:len(found)], theirs[:len(found)], equal_nan=True)


@pytest.mark.parametrize('rival', RIVALS)
def test_nms_match_groups_what_is_suppressed(rival):
    rng = np.random.default_rng(0)
    for number in range(100):
        boxes, scores = (tensor.cpu() for tensor in random_boxes(rng, 1 + number % 30))
        groups = mmcv_ext.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5)
        if rival == 'compiled':
            assert groups == COMPILED.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5)
        assert sorted(index for group in groups for index in group) == list(range(len(boxes)))
        for first, *others in groups:
            assert all(overlap(boxes[first].numpy(), boxes[index].numpy()) >= 0.5 for index in others)
            assert all(scores[first] >= scores[index] for index in others)


# Values and gradients.


def results(function, inputs):
    """Output, and the gradients of the inputs."""
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    output = function(*inputs)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
    return output, *torch.autograd.grad(output, inputs, upstream)


def compare(call, inputs, formula, rival):
    """``call(ops, *inputs)`` with the fallback against ``formula(*inputs)``, or against compiled mmcv."""
    ours = results(lambda *tensors: call(use(mmcv_ext), *tensors), inputs)
    theirs = results(formula if rival == 'formula' else lambda *tensors: call(use(COMPILED), *tensors), inputs)
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def tensors(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype).to(DEVICE) for shape in shapes]


def regions(count, size):
    """(R, 5) on two samples, some of them beyond the border."""
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(count, 2, generator=generator) * size - size / 8
    extent = torch.rand(count, 2, generator=generator) * size
    return torch.cat([torch.randint(2, (count, 1), generator=generator), start, start + extent], 1).to(DEVICE)


def bilinear(plane, y, x):
    """The value of (C, H, W) at a point; beyond the border there are zeros."""
    total = plane.new_zeros(len(plane))
    y, x = torch.as_tensor(y), torch.as_tensor(x)
    if not (-1 < y < plane.shape[1] and -1 < x < plane.shape[2]):
        return total
    top, left = int(y.floor()), int(x.floor())
    for row, along in ((top, top + 1 - y), (top + 1, y - top)):
        for column, across in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < plane.shape[1] and 0 <= column < plane.shape[2]:
                total = total + along * across * plane[:, row, column]
    return total


@pytest.mark.parametrize('rival', RIVALS)
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align(aligned, rival):
    rois = regions(6, 20)
    if rival == 'formula':
        rois[:, 1:] = rois[:, 1:] / 4 + 6  # inside, where clipping plays no part

    def formula(x):
        pooled = []
        for sample, *corners in rois.tolist():
            x1, y1, x2, y2 = (corner * 0.5 - (0.5 if aligned else 0) for corner in corners)
            width, height = (extent if aligned else max(extent, 1) for extent in (x2 - x1, y2 - y1))
            points = [bilinear(x[int(sample)], y1 + (row + 0.5) / 6 * height, x1 + (column + 0.5) / 4 * width)
                      for row in range(6) for column in range(4)]
            pooled.append(F.avg_pool2d(torch.stack(points, -1).view(3, 6, 4), 2))
        return torch.stack(pooled)

    compare(lambda ops, x: ops.roi_align(x, rois, (3, 2), 0.5, 2, 'avg', aligned), tensors((2, 3, 12, 9)), formula,
            rival)


@beside_compiled
def test_roi_align_chooses_as_many_samples_as_compiled():
    rois = regions(20, 30)
    compare(lambda ops, x: ops.roi_align(x, rois, (3, 2), 0.5, 0, 'avg', True), tensors((2, 3, 12, 9)), None,
            'compiled')


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16])
def test_roi_align_of_other_types(dtype):
    x, = tensors((2, 3, 12, 9))
    roi_align = use(mmcv_ext).roi_align
    exact, gradient = results(lambda x: roi_align(x, regions(6, 20), (3, 2), 0.5, 2), [x])
    ours, ours_gradient = results(lambda x: roi_align(x, regions(6, 20).to(dtype), (3, 2), 0.5, 2), [x.to(dtype)])
    assert ours.dtype == ours_gradient.dtype == dtype
    # Corners of up to 40 are rounded as well.
    step = 40 * max(torch.finfo(dtype).eps, 1e-6)
    torch.testing.assert_close(ours.float(), exact, rtol=step, atol=step)
    torch.testing.assert_close(ours_gradient.float(), gradient, rtol=8 * step, atol=8 * step)


def test_roi_align_refuses_the_maximum():
    with pytest.raises(mmcv_ext.MissingOperatorError, match="roi_align with pool_mode='max' needs mmcv's compiled"):
        use(mmcv_ext).roi_align(torch.rand(1, 1, 4, 4), torch.tensor([[0., 0, 0, 2, 2]]), 2, 1.0, 0, 'max')


@pytest.mark.parametrize('rival', RIVALS_ON_CUDA)
def test_roi_pool(rival):
    rois = torch.cat([regions(12, 18), torch.tensor([[0., 9, 9, 2, 2], [1, 90, 90, 99, 99]], device=DEVICE)])

    def edges(start, end, count, size):
        """First and behind-the-last index of every bin."""
        for index in range(count):
            first, last = (index * (end - start) / count + start, (index + 1) * (end - start) / count + start)
            yield min(max(int(np.floor(first)), 0), size), min(max(int(np.ceil(last)), 0), size)

    def formula(x):
        pooled = []
        for sample, *corners in rois.cpu().numpy():
            x1, y1, x2, y2 = (np.float32(corner + beyond) / 2 for corner, beyond in zip(corners, (0, 0, 1, 1)))
            for top, bottom in edges(y1, y2, 3, 7):
                for left, right in edges(x1, x2, 2, 9):
                    values = x[int(sample), :, top:bottom, left:right].flatten(1)
                    empty = not values.shape[1] or x2 <= x1 or y2 <= y1
                    pooled.append(x.new_zeros(3) if empty else values.amax(1))
        return torch.stack(pooled, -1).view(3, -1, 3, 2).transpose(0, 1)

    compare(lambda ops, x: ops.roi_pool(x, rois, (3, 2), 0.5), tensors((2, 3, 7, 9)), formula, rival)


def deformed(x, offset, weight, mask):
    """A 3 x 3 convolution of stride 2 and padding 1, in two groups and with two groups of offsets."""
    samples = len(x)
    height, width = offset.shape[2:]
    offset, mask = offset.view(samples, 2, 9, 2, height, width), mask.view(samples, 2, 9, height, width)
    outputs = []
    for n in range(samples):
        for row in range(height):
            for column in range(width):
                taps = []
                for tap in range(9):
                    parts = []
                    for group, plane in enumerate(x[n].chunk(2)):
                        dy, dx = offset[n, group, tap, :, row, column]
                        point = bilinear(plane, 2 * row - 1 + tap // 3 + dy, 2 * column - 1 + tap % 3 + dx)
                        parts.append(point * mask[n, group, tap, row, column])
                    taps.append(torch.cat(parts))
                columns = torch.stack(taps, -1).chunk(2)
                outputs.append(torch.cat([(w.flatten(2) * c).sum((1, 2)) for w, c in zip(weight.chunk(2), columns)]))
    return torch.stack(outputs, -1).view(-1, samples, height, width).transpose(0, 1)


@pytest.mark.parametrize('rival', RIVALS)
def test_deformable_convolution(rival):
    dtype = torch.float32 if rival == 'compiled' else torch.double
    x, offset, weight = tensors((2, 4, 5, 6), (2, 36, 3, 3), (6, 2, 3, 3), dtype=dtype)
    mask = torch.ones(2, 18, 3, 3, device=DEVICE)
    compare(lambda ops, *inputs: ops.deform_conv2d(*inputs, 2, 1, 1, 2, 2), [x, 2 * offset, weight],
            lambda *inputs: deformed(*inputs, mask), rival)


@pytest.mark.parametrize('rival', RIVALS)
@pytest.mark.parametrize('with_bias', [True, False])
def test_modulated_deformable_convolution(with_bias, rival):
    dtype = torch.float32 if rival == 'compiled' else torch.double
    shapes = [(2, 4, 5, 6), (2, 36, 3, 3), (2, 18, 3, 3), (6, 2, 3, 3), *[(6, )] * with_bias]
    none = [] if with_bias else [None]
    compare(lambda ops, *inputs: ops.modulated_deform_conv2d(*inputs, *none, 2, 1, 1, 2, 2),
            tensors(*shapes, dtype=dtype),
            lambda x, offset, mask, weight, *bias: deformed(x, offset, weight, mask) + sum(b[:, None, None]
                                                                                           for b in bias), rival)


def test_a_gradient_of_one_deformable_tensor_alone():
    x, offset, weight = tensors((2, 4, 5, 6), (2, 36, 3, 3), (6, 2, 3, 3), dtype=torch.double)
    every = results(lambda *inputs: use(mmcv_ext).deform_conv2d(*inputs, 2, 1, 1, 2, 2), [x, offset, weight])
    for position in range(3):

        def alone(tensor, position=position):
            inputs = [x, offset, weight]
            inputs[position] = tensor
            return use(mmcv_ext).deform_conv2d(*inputs, 2, 1, 1, 2, 2)

        torch.testing.assert_close(results(alone, [(x, offset, weight)[position]])[1], every[1 + position])


@pytest.mark.parametrize('rival', RIVALS_ON_CUDA)
def test_deformable_attention_is_mmcv_s_formulation(rival):
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch
    shapes, start = torch.tensor([[4, 5], [2, 3]], device=DEVICE), torch.tensor([0, 20], device=DEVICE)
    inputs = [tensor.sigmoid() for tensor in tensors((2, 26, 2, 4), (2, 7, 2, 2, 4, 2), (2, 7, 2, 2, 4))]
    compare(lambda ops, value, places, weights: MultiScaleDeformableAttnFunction.apply(value, shapes, start, places,
                                                                                      weights, 64), inputs,
            lambda value, places, weights: multi_scale_deformable_attn_pytorch(value, shapes, places, weights), rival)


@pytest.mark.parametrize('rival', RIVALS_ON_CUDA)
@pytest.mark.parametrize('with_weight', [False, True])
@pytest.mark.parametrize('kind', ['sigmoid', 'softmax'])
def test_focal_loss(kind, with_weight, rival):
    logits, weight = tensors((20, 5), (5, ), dtype=torch.double if rival == 'formula' else torch.float32)
    weight = weight.abs() if with_weight else None
    # The background, class 5, has no weight, and no place in a softmax.
    target = torch.arange(20, device=DEVICE) % (5 if with_weight or kind == 'softmax' else 6)
    gamma, alpha = 2.5, 0.3

    def formula(logits):
        chosen = F.one_hot(target, 6)[:, :5].bool()
        if kind == 'sigmoid':
            p = torch.where(chosen, logits.sigmoid(), 1 - logits.sigmoid())
            loss = -torch.where(chosen, alpha, 1 - alpha) * (1 - p)**gamma * p.log()
        else:
            p = logits.softmax(1)[chosen]
            loss = -alpha * (1 - p)**gamma * p.log()
        if with_weight:
            loss = loss * (weight[target, None] if kind == 'sigmoid' else weight[target])
        return loss.sum() / 20

    compare(lambda ops, logits: getattr(ops, f'{kind}_focal_loss')(logits, target, gamma, alpha, weight, 'mean'),
            [4 * logits], formula, rival)


def test_focal_loss_stays_finite_where_a_probability_is_0():
    logits = torch.tensor([[-200., 200.]], device=DEVICE, requires_grad=True)
    loss = use(mmcv_ext).sigmoid_focal_loss(logits, torch.tensor([0], device=DEVICE))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_softmax_focal_loss_leaves_out_negative_targets():
    probabilities, none, target = torch.tensor([[0.2, 0.8], [0.2, 0.8]]), torch.zeros(0), torch.tensor([-1, 1])
    loss, common, gradient = torch.ones(2), torch.ones(2), torch.ones(2, 2)
    mmcv_ext.softmax_focal_loss_forward(probabilities, target, none, loss, 2.0, 0.25)
    mmcv_ext.softmax_focal_loss_backward(probabilities, target, none, common, gradient, 2.0, 0.25)
    assert loss[0] == 0 < loss[1] and (gradient[0] == 0).all() and (gradient[1] != 0).all()


def test_any_other_operator_is_refused_by_name():
    with pytest.raises(mmcv_ext.MissingOperatorError, match=r"^carafe_forward needs mmcv's compiled .*make env"):
        mmcv_ext.carafe_forward(torch.rand(1), scale_factor=2)
