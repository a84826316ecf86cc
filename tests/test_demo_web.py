"""The page: on files whose outputs are known, without a browser, and in Chromium.

What needs gradio or Chromium is skipped where they are missing. ``make demo-web-test`` installs gradio and sets
``MICRONET_WEB_REQUIRED``, with which what is missing fails instead.
"""
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from mm import ROOT, call
from tiny_onnx import write_model

from micronet_runtime import InputError, Model
from micronet_web import Offer, find_models, offered
from micronet_web.bench import Bench
from micronet_web.models import ONNX, PLAN, PYTORCH

TOOL = ROOT / 'tools' / 'demo_web.py'
DIGITS = ROOT / 'configs' / 'demo' / 'imagenet_micronet_m0_digits.py'
WHITE = np.full((90, 120, 3), 255, np.uint8)
COSTS = dict(detection=36_500_000, keypoints=7_200_000, classification=4_050_000)


def need(there, what):
    """Skip without it, or fail where it is required."""
    if not there:
        (pytest.fail if os.environ.get('MICRONET_WEB_REQUIRED') else pytest.skip)(what)


@pytest.fixture(scope='module')
def gradio():
    need(importlib.util.find_spec('gradio'), "gradio is not installed: pip install 'micronet-mm[web]'")


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Exported files of the three tasks, with what they cost."""
    folder = tmp_path_factory.mktemp('exported')
    for task, number in COSTS.items():
        write_model(folder / f'tiny_{task}.onnx', task, madds=dict(number=number, size=[64, 48]))
    return folder


@pytest.fixture
def offers(folder):
    return {offer.task: offer for offer in find_models(folder)}


# Models


def test_a_folder_is_served_and_what_cannot_be_drawn_is_left_out(tmp_path, capsys):
    for name, task, changes in (('a', 'detection', {}), ('b', 'classification', {}), ('maps', 'features', {}),
                                ('raw', 'keypoints', dict(raw=True))):
        write_model(tmp_path / f'{name}.onnx', task, **changes)
    (tmp_path / 'broken.onnx').write_bytes(b'no model')
    (tmp_path / 'readme.txt').touch()
    assert [(offer.name, offer.task, offer.engines) for offer in find_models(tmp_path)] == [
        ('a', 'detection', [ONNX]), ('b', 'classification', [ONNX])]
    lines = capsys.readouterr().err.splitlines()
    assert [Path(line.partition('.onnx')[0].rpartition(' ')[2]).name for line in lines] == ['broken', 'maps', 'raw']
    assert all(line.endswith('It is left out.') for line in lines)


def test_folders_that_hold_nothing_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r'holds no model that can be served; export some with tools/export\.py'):
        find_models(tmp_path)
    with pytest.raises(FileNotFoundError, match='nowhere is no folder'):
        find_models(tmp_path / 'nowhere')


def test_files_of_one_name_are_engines_of_one_model():
    offers = [Offer('m', 'detection', {ONNX: 'm.onnx'}), Offer('m', 'detection', {PYTORCH: ('m.py', 'm.pth')}),
              Offer('m', 'keypoints', {PLAN: 'm.plan'}), Offer('m', 'detection', {ONNX: 'other/m.onnx'}),
              Offer('m', 'detection', {ONNX: 'r.onnx'}, 'random weights')]
    assert [(offer.label, offer.task, offer.engines) for offer in offered(offers)] == [
        ('m', 'detection', [ONNX, PYTORCH]), ('m', 'keypoints', [PLAN]), ('m, other/m.onnx', 'detection', [ONNX]),
        ('m (random weights)', 'detection', [ONNX])]


def test_the_page_takes_what_find_models_finds(gradio):
    from micronet_web.page import Page
    page = Page([Offer('m', 'detection', {ONNX: 'm.onnx'}), Offer('m', 'detection', {PLAN: 'm.plan'})])
    assert page.choose_model('detection', 'm')['choices'] == [ONNX, PLAN]


def test_a_file_says_what_it_costs(folder):
    metadata = Model(folder / 'tiny_detection.onnx').metadata
    assert (metadata.madds, metadata.madds_size) == (36_500_000, (64, 48))
    assert '36,500,000 at 64 x 48' in metadata.describe()


# A model on a picture


def test_boxes_count_above_the_threshold(offers):
    bench = Bench(threads=1)
    outcome = bench.run(WHITE, offers['detection'], ONNX)  # scores 0.9, 0.6 and 0.3 and a box in the padding
    assert outcome.found == '1 x person, 1 x disc' and outcome.madds[0] == '36.5 M' and '64 x 48' in outcome.madds[1]
    assert (outcome.drawn != WHITE).any() and outcome.milliseconds > 0 and outcome.runs >= 1
    assert bench.run(WHITE, offers['detection'], ONNX, threshold=0.7).found == '1 x person'
    assert bench.run(WHITE, offers['detection'], ONNX, threshold=1.0).found == 'nothing above 1.00'


def test_poses_of_the_people_that_a_detector_finds(offers):
    bench = Bench(threads=1)
    alone = bench.run(WHITE, offers['keypoints'], ONNX)
    assert alone.found == '1 person' and alone.madds[0] == '7.2 M'
    found = bench.run(WHITE, offers['keypoints'], ONNX, offers['detection'], threshold=0.2)
    assert found.found == '2 people' and found.madds[0] == '36.5 M + 7.2 M'
    none = bench.run(WHITE, offers['keypoints'], ONNX, offers['detection'], threshold=0.95)
    assert none.found == 'nobody above 0.95' and (none.drawn == WHITE).all()


def test_mistakes_are_one_line(offers, tmp_path):
    bench = Bench()
    with pytest.raises(InputError, match='tiny_classification is not there for PyTorch; choose ONNX Runtime'):
        bench.run(WHITE, offers['classification'], PYTORCH)
    blind = Offer('blind', 'detection', {ONNX: write_model(tmp_path / 'blind.onnx', 'detection', person=None)})
    with pytest.raises(InputError, match=r'blind\.onnx does not know people; choose another one'):
        bench.run(WHITE, offers['keypoints'], ONNX, blind)
    assert bench.run(WHITE, blind, ONNX).madds == ('unknown', 'the file does not say; export it anew')


def test_a_checkpoint_is_another_engine_for_its_file(tmp_path):
    """The exported file, its plan, and PyTorch find the same and cost the same."""
    pytest.importorskip('mmpretrain')
    import torch
    from test_deploy import unsettled

    from micronet_mm.analysis.from_config import build_model, count_config
    from micronet_mm.commands.export import export, parse_args
    from micronet_mm.engine.cli import read_config
    from micronet_web import offer_of_pair
    cfg = read_config(str(DIGITS))
    torch.save(dict(state_dict=unsettled(build_model(cfg)).state_dict()), tmp_path / 'w.pth')
    for suffix in ('onnx', 'plan'):
        export(parse_args([str(DIGITS), str(tmp_path / 'w.pth'), str(tmp_path / f'{DIGITS.stem}.{suffix}')]))
    offer, = offered([*find_models(tmp_path), offer_of_pair(str(DIGITS), str(tmp_path / 'w.pth'))])
    bench = Bench(threads=1)
    results, costs = [], []
    for engine in (ONNX, PLAN, PYTORCH):
        result, = bench.predictor(offer, engine)(WHITE // 2)
        results.append(result.scores)
        costs.append(bench.predictor(offer, engine).model.metadata.madds)
    np.testing.assert_allclose(results, [results[0]] * 3, atol=1e-5)
    assert costs == [count_config(read_config(str(DIGITS)), (48, 48)).total.madds] * 3
    with pytest.raises(InputError, match='does not fit the model of the config'):
        torch.save(dict(state_dict={}), tmp_path / 'empty.pth')
        bench.predictor(Offer('empty', offer.task, {PYTORCH: (str(DIGITS), str(tmp_path / 'empty.pth'))}), PYTORCH)


@pytest.mark.slow
def test_untrained_demos_are_served_by_every_engine_and_exported_once(tmp_path):
    pytest.importorskip('mmdet'), pytest.importorskip('mmpose'), pytest.importorskip('mmpretrain')
    from _demo_models import demo_models, demo_pictures
    offers = demo_models(tmp_path / 'nowhere', tmp_path / 'kept')
    assert [offer.engines for offer in offers] == [[ONNX, PLAN, PYTORCH]] * 3
    assert {offer.note for offer in offers} == {'random weights'}
    bench, pixels = Bench(threads=1), cv2.imread(demo_pictures(tmp_path, 1)[0])
    for offer in offers:
        outcomes = [bench.run(pixels, offer, engine) for engine in offer.engines]
        assert len({(outcome.found, outcome.madds) for outcome in outcomes}) == 1
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / 'kept').iterdir()}
    assert demo_models(tmp_path / 'nowhere', tmp_path / 'kept') == offers
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'kept').iterdir()} == written


# The page, without a browser


@pytest.fixture
def page(gradio, folder):
    from micronet_web.page import Page
    return Page(find_models(folder), threads=1)


@pytest.fixture
def white(tmp_path):
    cv2.imwrite(str(tmp_path / 'white.png'), WHITE)
    return dict(path=str(tmp_path / 'white.png'), orig_name='white.png')


def test_the_page_is_built_with_what_there_is(page):
    assert page.tasks() == [('Detector', 'detection'), ('Pose', 'keypoints'), ('Classifier', 'classification')]
    assert page.blocks().analytics_enabled is False
    model, engine, finder, threshold = page.choose_task('keypoints')
    assert (model['value'], engine['value'], finder['visible'], threshold['visible']) == (
        'tiny_keypoints', ONNX, True, True)
    assert [update.get('visible') for update in page.choose_task('classification')[2:]] == [False, False]


def test_a_picture_is_drawn_and_its_figures_written(page, white):
    drawn, figures = page.run(white, 'detection', 'tiny_detection', ONNX, '', 0.3)
    assert drawn.shape == WHITE.shape and (drawn != WHITE).any()
    for part in ('1 x person, 1 x disc', ' ms<', 'ONNX Runtime on 1 thread, median of', '36.5 M'):
        assert part in figures
    drawn, figures = page.run(None, 'detection', 'tiny_detection', ONNX, '', 0.3)
    assert drawn is None and '36.5 M' not in figures


def test_random_weights_are_said_to_be_random(gradio, offers, white):
    from dataclasses import replace

    from micronet_web.page import Page
    page = Page([replace(offers['classification'], note='random weights')])
    assert page.labels('classification') == ['tiny_classification (random weights)']
    figures = page.run(white, 'classification', 'tiny_classification (random weights)', ONNX, '', 0.3)[1]
    assert 'with random weights: it means nothing' in figures


@pytest.mark.parametrize('name', ['notes.txt', '<b>.png'])
def test_what_is_no_picture_is_one_line_without_where_it_lies(name, page, tmp_path):
    import gradio
    (tmp_path / 'upload').write_text('no picture')
    with pytest.raises(gradio.Error) as error:
        page.run(dict(path=str(tmp_path / 'upload'), orig_name=name), 'detection', 'tiny_detection', ONNX, '', 0.3)
    shown = name.replace('<', '&lt;').replace('>', '&gt;')  # messages are HTML
    assert error.value.message == f'{shown} cannot be decoded; drop a picture that is whole, such as a JPEG or PNG.'


def test_without_gradio_it_is_said_what_to_install(folder):
    code = f'''import runpy, sys
sys.modules['gradio'] = None
sys.argv = ['demo_web.py', '--models', {str(folder)!r}]
sys.path.insert(0, {str(TOOL.parent)!r})
runpy.run_path({str(TOOL)!r}, run_name='__main__')'''
    run = call('-c', code, cwd=ROOT, apart=True, cold=True)
    assert run.stderr == "error: the page needs gradio, which is not installed: pip install 'micronet-mm[web]'.\n"


def test_without_torch_the_demos_models_are_out_of_reach_and_exported_files_are_named():
    code = f'''import runpy, sys
sys.modules['torch'] = None
sys.argv = ['demo_web.py']
sys.path.insert(0, {str(TOOL.parent)!r})
runpy.run_path({str(TOOL)!r}, run_name='__main__')'''
    run = call('-c', code, cwd=ROOT, apart=True, cold=True)
    assert run.stderr.startswith('error: the models of the demos need torch, which is not installed; give --models')
    assert run.stderr.count('\n') == 1


@pytest.mark.parametrize(('arguments', 'line'), [
    (['--models', 'nowhere'], 'error: nowhere is no folder; name one of exported files.'),
    (['--checkpoint', 'nowhere.py', 'nowhere.pth'], 'error: nowhere.pth does not exist, which the page needs.'),
], ids=str)
def test_the_tool_ends_with_one_line(arguments, line, tmp_path):
    run = call(TOOL, *arguments, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert run.returncode == 1 and run.stdout.splitlines()[-1].startswith(line)


def test_exported_files_are_served_without_pytorch(folder):
    code = f'''import sys
from micronet_web import find_models
from micronet_web.bench import Bench
find_models({str(folder)!r})
print([name for name in ('gradio', 'micronet_mm', 'mmengine', 'torch') if name in sys.modules])'''
    run = call('-c', code, cwd=ROOT, apart=True, cold=True)
    assert (run.stdout, run.stderr) == ('[]\n', '')


# In Chromium


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@contextmanager
def server(folder):
    """The address of the tool, serving a folder."""
    port = free_port()
    process = subprocess.Popen([sys.executable, TOOL, '--models', folder, '--port', str(port)], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'})
    try:
        line = process.stdout.readline()
        assert line == f'http://127.0.0.1:{port}/ shows 3 models; Ctrl-C ends it.\n', line + process.stdout.read()
        yield f'http://127.0.0.1:{port}/'
    finally:
        process.terminate()
        process.wait()


class Browser:
    """Chromium without a window, on the page."""

    def __init__(self, driver):
        self.driver = driver

    def all(self, selector):
        return self.driver.find_elements('css selector', selector)

    def wait(self, what, condition):
        """What the condition gives once it is true."""
        end = time.monotonic() + 60
        while not (found := condition()):
            assert time.monotonic() < end, f'{what}: {self.driver.find_element("css selector", "body").text}'
            time.sleep(0.1)
        return found

    def open(self, address):
        self.driver.get(address)
        self.wait('no place for a picture', lambda: self.all('#picture input[type=file]'))

    def upload(self, path):
        self.wait('no place for a picture', lambda: self.all('#picture input[type=file]'))[0].send_keys(str(path))

    def value(self, figure):
        found = self.all(f'#{figure} .value')
        return found[0].text if found else ''

    def click(self, selector):
        self.wait(f'no {selector}', lambda: self.all(selector))[0].click()

    def error(self):
        return self.wait('no error', lambda: [each.text for each in self.all('.toast-body') if each.text])[0]

    def pixels_that_differ(self):
        """Of the picture and the result as they are shown; None where there are not both in one size."""
        return self.driver.execute_script('''
            const [a, b] = ['picture', 'result'].map(id => {
                const image = document.querySelector(`#${id} img`)
                if (!image || !image.complete || !image.naturalWidth) return null
                const canvas = document.createElement('canvas')
                canvas.width = image.naturalWidth, canvas.height = image.naturalHeight
                const context = canvas.getContext('2d')
                context.drawImage(image, 0, 0)
                return context.getImageData(0, 0, canvas.width, canvas.height).data
            })
            return a && b && a.length == b.length ? a.filter((value, i) => value != b[i]).length : null''')


@pytest.fixture(scope='module')
def browser():
    programs = [shutil.which('chromium') or shutil.which('google-chrome'), shutil.which('chromedriver')]
    need(all(programs), 'Chromium or its driver is not installed: apt install chromium chromium-driver')
    need(importlib.util.find_spec('selenium'), 'selenium is not installed: pip install selenium')
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for option in ('headless=new', 'no-sandbox', 'disable-dev-shm-usage', 'window-size=1280,1100',
                   'use-fake-device-for-media-stream', 'use-fake-ui-for-media-stream'):
        options.add_argument(f'--{option}')
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope='module')
def address(gradio, folder):
    with server(folder) as address:
        yield address


def test_in_chromium_a_picture_is_looked_at_by_every_task(browser, address, white):
    browser.open(address)
    browser.upload(white['path'])
    browser.wait('no boxes', lambda: browser.value('found') == '1 x person, 1 x disc')
    assert browser.value('latency').endswith(' ms') and browser.value('madds') == '36.5 M'
    browser.wait('nothing is drawn', browser.pixels_that_differ)
    browser.click('#task input[value=keypoints]')
    browser.wait('no poses', lambda: browser.value('madds') == '36.5 M + 7.2 M')
    assert browser.value('found') == '1 person'
    browser.click('#task input[value=classification]')
    browser.wait('no class', lambda: browser.value('madds') == '4.0 M')
    assert browser.value('found') == 'blue, 33%'  # white is no colour
    browser.wait('nothing is drawn', browser.pixels_that_differ)


def test_in_chromium_a_picture_to_try_is_looked_at(gradio, browser, folder, white):
    from micronet_web.page import CSS, THEME, Page
    page = Page(find_models(folder), examples=[white['path']]).blocks()
    address = page.launch(server_name='127.0.0.1', server_port=free_port(), quiet=True, prevent_thread_lock=True,
                          theme=THEME, css=CSS)[1]
    browser.open(address)
    browser.click('.gallery button, button.gallery-item')
    browser.wait('no boxes', lambda: browser.value('found') == '1 x person, 1 x disc')
    page.close()


def test_in_chromium_what_is_no_picture_is_one_readable_line(browser, address, tmp_path, white):
    for name, line in (('notes.txt', 'notes.txt'), ('broken.png', 'broken.png cannot be decoded; drop a picture')):
        (tmp_path / name).write_text('no picture')
        browser.open(address)
        browser.upload(tmp_path / name)
        error = browser.error()
        assert line in error and 'Traceback' not in error and str(tmp_path) not in error
    browser.open(address)  # which goes on
    browser.upload(white['path'])
    browser.wait('no boxes', lambda: browser.value('found') == '1 x person, 1 x disc')


def test_in_chromium_the_camera_takes_a_picture(browser, address):
    browser.open(address)
    browser.click('#picture button[aria-label="Capture from camera"]')
    browser.wait('no camera', lambda: [each for each in browser.all('#picture button') if 'Access' in each.text])[
        0].click()
    browser.wait('no film', lambda: browser.driver.execute_script(
        'const film = document.querySelector("#picture video"); return film && film.readyState > 2 && film.videoWidth'))
    browser.click('#picture button[aria-label="capture photo"]')
    browser.wait('nothing is looked at', lambda: browser.value('latency').endswith(' ms'))


def test_in_chromium_nothing_comes_from_elsewhere(browser, address):
    browser.driver.get_log('browser')
    browser.open(address)
    hosts = browser.driver.execute_script(
        'return performance.getEntriesByType("resource").map(each => new URL(each.name).origin + "/")')
    assert set(hosts) == {address}
    assert not [entry for entry in browser.driver.get_log('browser') if entry['level'] == 'SEVERE']
