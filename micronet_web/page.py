"""The page itself. It reports to nobody, and the browser gets all of it from this server."""
import os
from collections.abc import Sequence
from html import escape
from typing import Any, Optional

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'  # read when gradio is imported
os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'
try:
    import gradio as gr
except ModuleNotFoundError as error:
    message = f"the page needs {error.name}, which is not installed: pip install 'micronet-mm[web]'."
    raise ModuleNotFoundError(message, name=error.name) from None

from micronet_runtime import InputError
from micronet_runtime.sources import load

from .bench import Bench, Outcome
from .models import TASKS, Offer, offered

TITLE = 'MicroNet'
SENTENCE = ('Drop a picture or use the camera, and see what a network of a few million multiply-adds finds, and how '
            'long that takes on this machine.')
WHOLE = 'the picture is one person'
CSS = '''
.gradio-container { width: 100% !important; max-width: 1120px !important; margin: 0 auto !important }
#picture img, #result img { width: 100%; height: 100%; object-fit: contain }
#figures { padding: 0; --block-padding: 0 }
#figures .cells { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: var(--layout-gap) }
#figures .cell { border: 1px solid var(--border-color-primary); border-radius: var(--block-radius); padding: 12px 16px;
                 background: var(--block-background-fill) }
#figures .name, #figures .remark { color: var(--body-text-color-subdued); font-size: 0.85rem }
#figures .value { font-size: 1.2rem; font-weight: 600; line-height: 1.5; overflow-wrap: anywhere }
'''
THEME = gr.themes.Default(primary_hue='teal', neutral_hue='slate')  # its fonts come with gradio


class Page:
    """What the page's events do; the page of gradio is made by :meth:`blocks`.

    Args:
        offers: at least one; files of one name are engines of one model.
        threads: of every engine; by default each one's choice.
        examples: paths of pictures to click on.
    """

    def __init__(self, offers: Sequence[Offer], threads: Optional[int] = None, examples: Sequence[str] = ()) -> None:
        self.offers = {(offer.task, offer.label): offer for offer in offered(offers)}
        self.bench, self.threads, self.examples = Bench(threads), threads, list(examples)

    def labels(self, task: str) -> list[str]:
        return [label for kind, label in self.offers if kind == task]

    def tasks(self) -> list[tuple[str, str]]:
        """Those that there are models for, as (what is shown, value)."""
        return [(name, task) for task, name in TASKS.items() if self.labels(task)]

    def choose_task(self, task: str) -> tuple[Any, ...]:
        """What model, engine, finder and threshold become."""
        label = self.labels(task)[0]
        return (gr.update(choices=self.labels(task), value=label), self.choose_model(task, label),
                gr.update(visible=task == 'keypoints'), gr.update(visible=task != 'classification'))

    def choose_model(self, task: str, label: str) -> Any:
        """What engine becomes."""
        engines = self.offers[task, label].engines
        return gr.update(choices=engines, value=engines[0])

    def run(self, image: Optional[dict[str, Any]], task: str, label: str, engine: str, finder: str,
            threshold: float) -> tuple[Any, str]:
        """The result, (H, W, 3) in RGB, and the figures beneath it in HTML.

        Args:
            image: what gradio says of an uploaded file, ``path`` and ``orig_name``; None before there is one.
            task, label, engine, finder, threshold: as the page has them.

        Raises:
            gr.Error: for what a user can put right, in one line.
        """
        if image is None:
            return None, cells()
        try:
            pixels = picture(image['path'], image.get('orig_name') or 'the picture')
            outcome = self.bench.run(pixels, self.offers[task, label], engine,
                                     self.offers.get(('detection', finder)) if task == 'keypoints' else None, threshold)
        except InputError as error:
            raise gr.Error(escape(str(error)), duration=20, print_exception=False) from None
        return outcome.drawn[..., ::-1], cells(outcome, engine, self.threads, self.offers[task, label].note)

    def blocks(self) -> gr.Blocks:
        """The page, to be launched with :data:`THEME` and :data:`CSS`."""
        task, finders = self.tasks()[0][1], self.labels('detection')
        label = self.labels(task)[0]
        engines = self.offers[task, label].engines
        with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
            gr.Markdown(f'# {TITLE}\n{SENTENCE}')
            with gr.Row(equal_height=True):
                kind = gr.Radio(self.tasks(), value=task, label='Task', elem_id='task', scale=5)
                model = gr.Dropdown(self.labels(task), value=label, label='Model', elem_id='model', scale=6)
                engine = gr.Radio(engines, value=engines[0], label='Engine', elem_id='engine', scale=5)
            with gr.Row(equal_height=True):
                image = gr.Image(type='filepath', sources=['upload', 'webcam', 'clipboard'], label='Picture',
                                 height=380, elem_id='picture', webcam_options=gr.WebcamOptions(mirror=False))
                result = gr.Image(label='Result', interactive=False, format='png', height=380, elem_id='result',
                                  buttons=['download', 'fullscreen'])
            figures = gr.HTML(cells(), elem_id='figures')
            with gr.Row(equal_height=True):
                finder = gr.Dropdown([*finders, WHOLE], value=[*finders, WHOLE][0], label='People are found by',
                                     elem_id='finder', visible=task == 'keypoints')
                threshold = gr.Slider(0, 1, 0.3, step=0.01, label='Least score', elem_id='threshold',
                                      visible=task != 'classification')
            if self.examples:
                gr.Examples(self.examples, image, label='Pictures to try')
            # With preprocessing gradio would decode the file, and say of a broken one where its temporary copy lies.
            # One run at a time, since they are timed.
            look = dict(fn=self.run, inputs=[image, kind, model, engine, finder, threshold], outputs=[result, figures],
                        preprocess=False, concurrency_limit=1, concurrency_id='run', show_progress_on=[result])
            gr.on([image.change, engine.input, finder.input, threshold.release], **look)
            kind.input(self.choose_task, [kind], [model, engine, finder, threshold]).then(**look)
            model.input(self.choose_model, [kind, model], [engine]).then(**look)
        return page


def picture(path: str, name: str) -> Any:
    """The pixels of an uploaded file, (H, W, 3) uint8 in BGR; InputError if it is no whole picture."""
    try:
        return load(path)
    except InputError:
        raise InputError(f'{name} cannot be decoded; drop a picture that is whole, such as a JPEG or PNG.') from None


def cells(outcome: Optional[Outcome] = None, engine: str = '', threads: Optional[int] = None, note: str = '') -> str:
    """The figures: what was found, how long it took, what it cost; without an outcome, empty ones."""
    rows = [('found', 'Found', '-', ''), ('latency', 'Latency', '-', ''), ('madds', 'Multiply-adds', '-', '')]
    if outcome:
        with_threads = '' if threads is None else f' on {threads} thread{"" if threads == 1 else "s"}'
        rows = [('found', 'Found', outcome.found, note and f'with {note}: it means nothing'),
                ('latency', 'Latency', f'{outcome.milliseconds:.1f} ms',
                 f'{engine}{with_threads}, median of {outcome.runs} runs, without drawing'),
                ('madds', 'Multiply-adds', *outcome.madds)]
    return '<div class="cells">' + ''.join(
        f'<div class="cell" id="{key}"><div class="name">{name}</div><div class="value">{escape(value)}</div>'
        f'<div class="remark">{escape(remark)}</div></div>' for key, name, value, remark in rows) + '</div>'


def serve(offers: Sequence[Offer], host: str = '127.0.0.1', port: Optional[int] = None, threads: Optional[int] = None,
          examples: Sequence[str] = ()) -> None:
    """Serve the page until Ctrl-C.

    Args:
        offers, threads, examples: of :class:`Page`.
        host: whom it answers: by default this machine alone, with '0.0.0.0' the whole network.
        port: by default the first free one from 7860.

    Raises:
        OSError: if the port is taken.
    """
    page = Page(offers, threads, examples)
    blocks, count = page.blocks(), len(page.offers)
    _, address, _ = blocks.launch(
        server_name=host, server_port=port, share=False, theme=THEME, css=CSS, footer_links=[], run_history=False,
        enable_monitoring=False, ssr_mode=False, quiet=True, prevent_thread_lock=True)
    print(f'{address} shows {count} model{"" if count == 1 else "s"}; Ctrl-C ends it.', flush=True)
    blocks.block_thread()
