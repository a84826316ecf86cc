"""The networks whose latency is compared, built from their configs or by timm, with weights that are random."""
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine.config import Config
from torch import Tensor, nn

from micronet_mm.analysis.figures import LARGER_BASELINE
from micronet_mm.analysis.from_config import build_model
from micronet_mm.analysis.paper_tables import TABLES, V3
from micronet_mm.deploy.assemble import assemble, default_size
from micronet_mm.deploy.metadata import normalization, task_of
from micronet_mm.latency.variants import Built
from micronet_mm.ops import reference_only

FAMILIES = ('MicroNet#', 'MicroNet', 'MobileNetV3-Small')


@dataclass(frozen=True)
class Network:
    """A network to time.

    Attributes:
        name: on the command line.
        title: in tables and pictures.
        config: path below ``configs/``, without ``.py``; None for one of timm, which knows it by ``name``.
        top1: on ImageNet in percent, as published; None for one that does something else.
        source: who published it.
        baseline: ``name`` of the network that its latency is compared with.
        options: of the config, what differs.
    """
    name: str
    title: str
    config: Optional[str] = None
    top1: Optional[float] = None
    source: str = 'the paper'
    baseline: Optional[str] = 'mobilenetv3_small_050'
    options: Optional[dict[str, Any]] = None

    @property
    def family(self) -> Optional[str]:
        """The curve that it lies on, if it lies on one."""
        if self.title.startswith('MicroNet'):
            return 'MicroNet#' if self.title.endswith('#') else 'MicroNet'
        return next((family for family in FAMILIES if self.title.startswith(family)), None)

    @property
    def label(self) -> str:
        """What tells it from the others of its family: 'M2', '0.35x'."""
        return self.title.split()[-1].removeprefix('MicroNet-') if self.family else self.title.partition(' (')[0]


def of_table_7() -> list[Network]:
    return [Network(row.config.removeprefix('imagenet_').removeprefix('micronet_'), row.name, row.config, row.accuracy)
            for row in TABLES['7'].rows]


V3_075 = {'model.backbone.width': 0.75, 'model.head.in_channels': 432}
CLASSIFIERS = [
    *of_table_7(),
    Network('mobilenetv3_small_075', LARGER_BASELINE.name, V3, LARGER_BASELINE.accuracy, options=V3_075),
    Network('mobilenetv3_small_100', 'MobileNetV3-Small 1.0x', V3, 67.4, 'the paper of MobileNetV3'),
    Network('lcnet_050', 'PP-LCNet 0.5x', None, 63.1, 'the paper of PP-LCNet'),
    Network('tinynet_e', 'TinyNet-E (106 x 106)', None, 59.9, 'the paper'),
    Network('mobilenetv4_conv_small_050', 'MobileNetV4-Conv-S 0.5x', None, 64.8, 'timm, at 224 x 224'),
]
POSE_BASELINE = 'keypoint_mobilenetv3_small'
MODELS = [
    Network('micro_det_m3', 'MicroDet-M3', 'micro_det_m3', baseline=None),
    Network('retinanet_m3_demo', 'RetinaNet, MicroNet-M3 (demo)', 'demo/retinanet_micronet_m3_demo', baseline=None),
    *(Network(row.config, f'keypoints, {row.name}', row.config, baseline=POSE_BASELINE) for row in TABLES['9'].rows),
]


def missing(network: Network) -> Optional[str]:
    """What to install so that the network can be built; None if it can."""
    return "timm is not installed: pip install 'micronet-mm[benchmark]'" \
        if network.config is None and find_spec('timm') is None else None


class Classifier(nn.Module):
    """A network of timm as a function of an image.

    Shapes: (N, 3, H, W) to one output, (N, 1000).
    """
    output_names = ('logits', )

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self.model(image), )


def build(network: Network, configs: Path, seed: int = 0) -> Built:
    """The network in the form that trains and, of our own exporter, in the form that is deployed.

    Args:
        network: what to build.
        configs: the folder of the configs.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    if network.config is None:
        import timm
        model = timm.create_model(network.name, pretrained=False)
        size = tuple(model.pretrained_cfg['input_size'][1:])  # that its accuracy was published for
        give_statistics(model, model, size)
        return Built(Classifier(model).eval(), size)
    cfg = Config.fromfile(configs / f'{network.config}.py')
    cfg.merge_from_dict(network.options or {})
    cfg.model.get('backbone', {}).pop('init_cfg', None)
    task = task_of(cfg)
    size = default_size(cfg) or (320, 320)
    model = build_model(cfg)
    plain = assemble(cfg, task, model, raw=True, inside=False, deploy=False)
    give_statistics(model, plain, size)
    mean, std, _ = normalization(cfg)
    return Built(plain, size, lambda: assemble(cfg, task, deepcopy(model), raw=True), (mean, std))


@torch.no_grad()
def give_statistics(model: nn.Module, call: Callable[[Tensor], Any], size: Sequence[int]) -> None:
    """Let BN have the statistics of noise, and coefficients depend on the input: values stay in range, with neither
    infinities nor denormal numbers, which are slow, and what an export does wrong shows."""
    model.requires_grad_(False).eval()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.05)
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with reference_only():
        call(torch.randn(4, 3, *size))
    for norm in norms:
        norm.eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d):  # of vectors, which hardly differ between two pictures of noise
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
