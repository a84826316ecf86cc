"""Two stages together: people, then their poses."""
import json
import re

import cv2
import numpy as np
import pytest
import torch
from mm import DEMO, ROOT, call
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.structures import InstanceData

pytest.importorskip('mmpose')
pytest.importorskip('mmdet')

POSE = DEMO.with_name('keypoint_micronet_m0_demo.py')


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """Config and checkpoint of an untrained detector, which finds what a low threshold lets it, and a pose model."""
    folder = tmp_path_factory.mktemp('models')
    found = []
    for config, scope, classes in ((DEMO, 'mmdet', ('person', 'disc', 'square', 'triangle')), (POSE, 'mmpose', ())):
        init_default_scope(scope)
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(config).model)
        meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
        torch.save(dict(meta=meta, state_dict=model.state_dict()), folder / f'{scope}.pth')
        found += [str(config), str(folder / f'{scope}.pth')]
    DefaultScope._instance_dict.clear()
    return found


@pytest.fixture(autouse=True)
def fresh_scope():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.png'):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (90, 120, 3), np.uint8))
    return folder


def test_an_image_a_folder_and_an_array(models, pictures, tmp_path):
    from micronet_mm.inference import find_poses
    people, = find_poses(pictures / 'a.png', *models, out_dir=str(tmp_path / 'drawn'), box_threshold=1e-4)
    assert people and (tmp_path / 'drawn' / 'a.png').exists()
    person = people[0]
    assert len(person['bbox']) == 4 and 0 < person['bbox_score'] < 1
    assert np.shape(person['keypoints']) == (17, 2) and np.shape(person['keypoint_scores']) == (17, )
    assert len(find_poses(str(pictures), *models, box_threshold=1e-4)) == 2
    same, = find_poses(cv2.imread(str(pictures / 'a.png')), *models, box_threshold=1e-4)
    assert np.allclose(same[0]['keypoints'], person['keypoints'])


def test_where_nobody_is_nobody_is_found(models, pictures, tmp_path):
    from micronet_mm.inference import find_poses
    assert find_poses(pictures, *models, out_dir=str(tmp_path), box_threshold=0.99) == [[], []]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.png', 'b.png']
    drawn, given = (cv2.imread(str(folder / 'a.png')).astype(int) for folder in (tmp_path, pictures))
    assert abs(drawn - given).mean() < 1  # nothing is drawn


def test_a_score_of_one_is_a_score(models, pictures, monkeypatch):
    """Logits from about 17 on are 1 in single precision."""
    from mmdet.models.dense_heads import RetinaHead

    from micronet_mm.inference import find_poses
    monkeypatch.setattr(RetinaHead, 'predict_by_feat', lambda *args, **kwargs: [InstanceData(
        bboxes=torch.tensor([[10.0, 10, 60, 80]]), scores=torch.tensor([40.0]).sigmoid(), labels=torch.tensor([0]))])
    (person, ), _ = find_poses(pictures, *models)
    assert person['bbox_score'] == 1
    assert find_poses(pictures, *models, person=1) == [[], []]


@pytest.mark.parametrize('spelling', ['.', 'link', '../{name}', 'hard'])
def test_the_picture_is_not_drawn_over(spelling, models, pictures, tmp_path):
    picture = tmp_path / 'me.png'
    picture.write_bytes((pictures / 'a.png').read_bytes())
    (tmp_path / 'link').symlink_to(tmp_path)
    (tmp_path / 'hard').mkdir()
    (tmp_path / 'hard' / 'me.png').hardlink_to(picture)
    before = picture.read_bytes()
    tool, out = ROOT / 'tools' / 'find_poses.py', spelling.format(name=tmp_path.name)
    run = call(tool, 'me.png', '--detector', *models[:2], '--pose', *models[2:], '--out-dir', out, cwd=tmp_path)
    assert run.returncode == 1
    assert re.fullmatch(r'error: .*me\.png is to be written and is me\.png, which is to be read; name another place to '
                        r'write to\.', run.stdout.strip().splitlines()[-1]), run.stdout
    assert picture.read_bytes() == before


def test_two_pictures_of_one_name_are_not_drawn_in_one_file(models, pictures, tmp_path):
    from micronet_mm.inference import find_poses
    (tmp_path / 'a.png').write_bytes((pictures / 'b.png').read_bytes())
    with pytest.raises(ValueError, match='would be drawn in one file'):
        find_poses([str(pictures / 'a.png'), str(tmp_path / 'a.png')], *models, out_dir=str(tmp_path / 'drawn'))


def test_a_video_from_the_command_line(models, tmp_path):
    video = cv2.VideoWriter(str(tmp_path / 'film.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 5, (120, 90))
    for value in (40, 80, 120):
        video.write(np.full((90, 120, 3), value, np.uint8))
    video.release()
    tool = ROOT / 'tools' / 'find_poses.py'
    run = call(tool, 'film.mp4', '--detector', *models[:2], '--pose', *models[2:], '--out-dir', 'drawn', '--json',
               'found.json', '--box-threshold', '0.0001', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert ' people in 3 images, drawn in drawn' in run.stdout
    assert len(json.loads((tmp_path / 'found.json').read_text())) == 3
    assert cv2.VideoCapture(str(tmp_path / 'drawn' / 'film.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 3

    run = call(tool, 'none.jpg', '--detector', *models[:2], '--pose', *models[2:], '--out-dir', 'drawn', cwd=tmp_path)
    assert run.returncode == 1 and run.stdout.strip().splitlines()[-1] == 'error: none.jpg does not exist.'
