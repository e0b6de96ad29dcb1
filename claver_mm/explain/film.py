"""An explanation as a film: each frame beside its maps, words and labels below.

Pure: imports NumPy, Matplotlib, PyAV and nothing of ``mm*``.
"""
from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .explanation import Explanation
from .pictures import LINE, draw_ranking, draw_words, image_rows, ranking_height, word_lines

ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""In the order in which they are tried: browsers play H.264, everything else plays MPEG-4."""


def write_film(explanation: Explanation, path: str | Path, frames_per_second: float = 4) -> str:
    """Write an ``.mp4`` of the frames that the model saw; the name of the encoder.

    Raises:
        ValueError: A rate that is not above zero.
        OSError: The file cannot be written, or this PyAV has no encoder that opens; the reasons are named.
    """
    if frames_per_second <= 0:
        raise ValueError(f"frames_per_second must be above 0, got {frames_per_second}")
    pages = film_pages(explanation)
    reasons = []
    for encoder in ENCODERS:
        try:
            _encode(pages, path, encoder, Fraction(frames_per_second).limit_denominator(1000))
            return encoder
        except (av.codec.codec.UnknownCodecError, av.error.FFmpegError) as error:
            Path(path).unlink(missing_ok=True)
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            reasons.append(f"{encoder}: {error}")
    raise OSError(f"{path}: no encoder opens in PyAV {av.__version__} ({'; '.join(reasons)}); "
                  "save a picture or a page instead")


def film_pages(explanation: Explanation) -> np.ndarray:
    """One picture for each frame, RGB, uint8, ``(T, height, width, 3)``, both sides even."""
    rows = image_rows(explanation)
    H, W = explanation.frames.shape[1:3]
    side, gap = 1.9, 0.05
    bars = ranking_height(explanation)
    width = len(rows) * (side + gap) + gap
    lines = word_lines(explanation, width)
    height = LINE * len(lines) + 0.35 + side * H / W + bars
    figure = Figure(figsize=(width, height), dpi=160)
    canvas = FigureCanvasAgg(figure)
    draw_words(lines, figure, top=0.03)
    bottom = (bars + 0.1) / height
    pictures = []
    for column, (label, images) in enumerate(rows.items()):
        left = (gap + column * (side + gap)) / width
        axis = figure.add_axes((left, bottom, side / width, side * H / W / height))
        pictures.append((axis.imshow(images[0], interpolation="nearest", aspect="auto"), images))
        axis.axis("off")
        axis.set_title(label, fontsize=7, pad=2)
    number = figure.axes[0].text(0.03, 0.96, "", transform=figure.axes[0].transAxes, fontsize=6, va="top",
                                 color="white", bbox=dict(facecolor="black", alpha=0.55, pad=1, linewidth=0))
    draw_ranking(explanation, figure)
    pages = []
    for t, place in enumerate(explanation.frame_numbers):
        for picture, images in pictures:
            picture.set_data(images[t])
        number.set_text(f"frame {place}")
        canvas.draw()
        page = np.asarray(canvas.buffer_rgba())[..., :3]
        pages.append(page[:len(page) // 2 * 2, :page.shape[1] // 2 * 2].copy())
    return np.stack(pages)


def _encode(pages: np.ndarray, path: str | Path, encoder: str, rate: Fraction) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = pages.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for page in pages:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(page, format="rgb24")))
        container.mux(stream.encode())
