"""Records of our own trainings, and the page that is written from them."""
import json

import pytest

from micronet_mm.analysis import trained


def write_part(folder, epochs, last=3):
    """The log of a part of a training: two lines of each epoch, and its accuracy up to the epoch ``last``."""
    lines = []
    for epoch in epochs:
        lines += [dict(loss=10 - epoch + 0.1 * line, time=0.5, lr=0.1, epoch=epoch, iter=10 * (epoch - 1) + line,
                       step=10 * (epoch - 1) + line) for line in (4, 8)]
        if epoch <= last:
            lines.append({'accuracy/top1': 10.0 * epoch, 'accuracy/top5': 20.0 * epoch, 'step': epoch})
    (folder / 'vis_data').mkdir(parents=True)
    (folder / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))


def test_a_training_that_was_resumed_is_read_whole(tmp_path):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'tiny_imagenet_micronet_m1.py').write_text('train_cfg = dict(max_epochs=3)\nrandomness = dict(seed=7)')
    write_part(tmp_path / '1', [1, 2], last=1)
    with pytest.raises(ValueError, match='has no accuracy of epoch 2: the training is not finished'):
        trained.read_run(tmp_path, 'abc', 'a machine')
    write_part(tmp_path / '2', [2, 3])
    run = trained.read_run(tmp_path, 'abc', 'a machine')
    assert (run.network, run.seed, run.file) == ('micronet_m1', 7, 'micronet_m1_seed7.json')
    assert [epoch.top1 for epoch in run.epochs] == [10, 20, 30] and run.last.top5 == 60
    assert [epoch.loss for epoch in run.epochs] == [9.6, 8.6, 7.6] and run.minutes == 3 * 10 * 0.5 / 60
    (tmp_path / run.file).write_text(trained.write_run(run))
    assert trained.load_runs(tmp_path) == [run]


def test_the_verdict_follows_from_the_numbers():
    def run(network, top1, seed=0):
        return trained.Run(network, seed, '', '', [trained.Epoch(1, top1, 90, 60)])

    m0, small = run('micronet_m0', 40), run('mobilenetv3_small_015', 30)
    assert trained.verdict([m0]) == 'No pair is complete yet.'
    assert trained.verdict([m0, small]) == "The paper's order holds in 1 of 1 trained pairs."
    worse = [run('micronet_m0', 10, seed=1), m0, run('mobilenetv3_small_015', 30)]
    assert trained.verdict(worse) == "The paper's order does not hold for MicroNet-M0, of 1 trained pairs."
    assert '| MicroNet-M0, 0.15x | 25.00 | 30.00 | -5.00 |' in trained.pairs_table(worse)
    assert '| MicroNet-M3, 0.5x | not trained yet | not trained yet |  |' in trained.pairs_table(worse)
