"""Explanations as pictures, films and pages."""
import base64
from html.parser import HTMLParser
from xml.etree import ElementTree

import av
import cv2
import numpy as np
import pytest

from claver_mm.clip import tokenize
from claver_mm.explain import film
from claver_mm.explain.explanation import Explanation, words_of
from claver_mm.explain.pictures import (
    COLUMN_WIDTH,
    DPI,
    PAGE_WIDTH,
    explanation_figure,
    image_rows,
    overlays,
    word_lines,
    word_shades,
)

ARCH = dict(embed_dim=8, vision_cfg=dict(layers=1, width=64), text_cfg=dict(context_length=16))


def made(T: int = 6, size: tuple[int, int] = (224, 224), temporal: bool = True, **changes) -> Explanation:
    rng = np.random.default_rng(0)
    maps = {name: rng.random((T, 7, 7), dtype=np.float32) for name in ("spatial", "temporal", "combined")}
    maps["temporal"] *= temporal
    fields = dict(
        text="a person <juggles> balls", words=[("a", 0.1), ("person", 0.2), ("<juggles>", 0.9), ("balls", 0.0)],
        similarity=0.31, against=(), ranked=[("a person <juggles> balls", 0.8), ("diving", 0.2)],
        frames=rng.integers(0, 256, (T, *size, 3), dtype=np.uint8), frame_numbers=[10 * t for t in range(T)],
        frame_relevance=rng.random(T), **maps)
    return Explanation(**(fields | changes))


def test_words_are_put_together_from_their_tokens():
    tokens = tokenize(["a shape turning counterclockwise"], ARCH)[0]
    words = words_of(tokens, range(16), ARCH)
    assert words == [("a", 1), ("shape", 2), ("turning", 3), ("counterclockwise", 4 + 5)]


def test_a_word_that_the_context_cuts_is_kept():
    arch = dict(ARCH, text_cfg=dict(context_length=6))
    with pytest.warns(UserWarning, match="cut"):
        tokens = tokenize(["a shape turning counterclockwise"], arch)[0]
    assert words_of(tokens, [1] * 6, arch)[-1] == ("counter", 1)


def test_relevance_shows_as_light_also_in_a_grey_print():
    explanation = made(T=1, frames=np.full((1, 224, 224, 3), 40, np.uint8))
    relevance = np.linspace(0, 1, 49, dtype=np.float32).reshape(1, 7, 7)
    explanation.spatial = relevance
    centres = overlays(explanation, "spatial")[0, 16::32, 16::32] @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(centres.ravel()) > -2).all()
    assert centres.ravel()[-1] > 5 * centres.ravel()[0]


def test_the_largest_relevance_of_a_clip_is_where_the_picture_is_lightest():
    explanation = made(T=3, frames=np.zeros((3, 32, 32, 3), np.uint8))
    explanation.combined = np.zeros((3, 4, 4), np.float32)
    explanation.combined[1, 2, 3] = 5
    explanation.combined[0, 0, 0] = 1
    light = overlays(explanation, "combined").mean(axis=-1)
    t, y, x = np.unravel_index(light.argmax(), light.shape)
    assert (t, y // (light.shape[1] // 4), x // (light.shape[2] // 4)) == (1, 2, 3)
    assert light[0].max() < light[1].max() / 2


def test_a_map_of_zeros_leaves_the_frames_grey():
    explanation = made(T=1, spatial=np.zeros((1, 7, 7), np.float32))
    picture = overlays(explanation, "spatial")
    assert (np.ptp(picture, axis=-1) == 0).all()


def test_words_are_the_darker_the_more_relevant():
    explanation = made()
    light = [sum(shade) for _, shade in word_shades(explanation)]
    assert np.argsort(light)[::-1].tolist() == np.argsort([value for _, value in explanation.words]).tolist()
    assert len(word_shades(made(words=[("a", 0.0)]))) == 1


@pytest.mark.parametrize("width", [COLUMN_WIDTH, PAGE_WIDTH], ids=["column", "page"])
@pytest.mark.parametrize("T, size, text", [(4, (32, 32), "moving left"), (16, (224, 300), "word " * 40)],
                         ids=["small", "long"])
def test_a_picture_has_the_width_asked_for_and_cuts_nothing_off(T, size, text, width, tmp_path):
    words = [(word, 0.1 * i) for i, word in enumerate(text.split())]
    explanation = made(T, size, text=text, words=words, ranked=[(text, 0.9), ("x" * 100, 1.0)])
    explanation.save(tmp_path / "a.png", width=width)
    height, pixels, _ = cv2.imread(str(tmp_path / "a.png")).shape
    assert pixels == round(width * DPI)
    figure = explanation_figure(explanation, width)
    drawn = figure.get_tightbbox(figure.canvas.get_renderer())
    assert drawn.x0 >= -0.01 and drawn.y0 >= -0.01
    assert drawn.x1 <= width + 0.01 and drawn.y1 <= figure.get_figheight() + 0.01
    assert height < 3 * pixels
    words = [text for text in figure.texts if text.get_text() in ("word", "moving", "left")]
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in words]
    assert len(boxes) == len(text.split())
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_a_model_without_temporal_transformer_has_a_spatial_map_alone():
    assert list(image_rows(made())) == ["frame", "spatial", "temporal", "both"]
    assert list(image_rows(made(temporal=False))) == ["frame", "spatial"]


def test_a_vector_picture_holds_every_image_and_is_what_its_suffix_says(tmp_path):
    explanation = made(T=2)
    explanation.save(tmp_path / "a.svg")
    tags = [element.tag.split("}")[1] for element in ElementTree.parse(tmp_path / "a.svg").iter()]
    assert tags[0] == "svg" and tags.count("image") == 2 * len(image_rows(explanation))
    explanation.save(tmp_path / "a.pdf")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    assert pdf.count(b"/Subtype /Image") == 2 * len(image_rows(explanation))


def test_a_suffix_in_capitals_gives_the_same_picture(tmp_path):
    for name in ("a.png", "b.PNG"):
        made(T=2).save(tmp_path / name)
    small, large = (cv2.imread(str(tmp_path / name)) for name in ("a.png", "b.PNG"))
    assert np.array_equal(small, large) and small.std() > 10


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.gif.*\.png.*\.mp4, \.html"):
        made().save(tmp_path / "a.gif")
    with pytest.raises(ValueError, match="width"):
        made().save(tmp_path / "a.png", width=0)


def test_dollars_are_no_formulas(tmp_path):
    """Matplotlib took what stands between two dollar signs for a formula, and raised where it was none."""
    formula = made(T=1, text="$_$", words=[("$_$", 0.1)], ranked=[("$_$", 1.0)])
    formula.save(tmp_path / "a.png")
    formula.save(tmp_path / "a.mp4")


def test_a_film_has_one_picture_for_each_frame(tmp_path):
    made(T=5).save(tmp_path / "a.mp4", frames_per_second=2.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate) == pytest.approx(2.5)
    pages = film.film_pages(made(T=5))
    assert len(frames) == 5 and frames[0].shape == pages[0].shape
    # pages differ by frame, and the film holds them in order
    distances = [[np.abs(frame.astype(int) - page).mean() for page in pages] for frame in frames]
    assert np.argmin(distances, axis=1).tolist() == [0, 1, 2, 3, 4]


def test_a_film_is_written_by_the_first_encoder_that_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "ENCODERS", ("no_such_encoder", "mpeg4"))
    assert film.write_film(made(T=2), tmp_path / "a.mp4") == "mpeg4"
    monkeypatch.setattr(film, "ENCODERS", ("no_such_encoder",))
    with pytest.raises(OSError, match="no_such_encoder: .*picture or a page instead"):
        film.write_film(made(T=2), tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()
    with pytest.raises(OSError, match="nowhere"):
        film.write_film(made(T=2), tmp_path / "nowhere" / "b.mp4")
    with pytest.raises(ValueError, match="frames_per_second"):
        film.write_film(made(T=2), tmp_path / "b.mp4", frames_per_second=0)


class Page(HTMLParser):
    """Sources, identifiers and words of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.sources, self.words, self.links = {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img" and "src" in attributes:
            self.sources[attributes["id"]] = attributes["src"]
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]

    def handle_data(self, data):
        self.words.append(data)


def test_a_page_needs_nothing_beside_it_and_holds_every_frame_under_every_map(tmp_path):
    explanation = made(T=3, size=(224, 224), against=("x & y",))
    explanation.save(tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    page = Page(text)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "http" not in text and "$" not in text
    for row, images in enumerate(image_rows(explanation).values()):
        for t, image in enumerate(images):
            data = base64.b64decode(page.sources[f"{row}-{t}"].split(",")[1])
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            assert np.array_equal(decoded, image)
    assert "<juggles>" in page.words and "a person <juggles> balls" in page.words
    assert "x &amp; y" in text and "80.0 %" in text


def test_frames_have_shares_only_where_there_is_a_temporal_transformer(tmp_path):
    """Without one a page said that every frame had 0 %."""
    for name, changes in (("with", {}), ("without", dict(temporal=False, frame_relevance=np.zeros(6)))):
        made(**changes).save(tmp_path / f"{name}.html")
    assert "frame's share" in (tmp_path / "with.html").read_text()
    assert "frame's share" not in (tmp_path / "without.html").read_text()


@pytest.mark.parametrize("absent, note", [
    (dict(spatial=None, combined=None), "no spatial map: the image tower has no attention that can be read"),
    (dict(words=None), "no words: the text tower has no attention that can be read")], ids=["maps", "words"])
def test_what_is_not_explained_is_said_wherever_it_would_stand(absent, note, tmp_path):
    explanation = made(T=2, **absent)
    assert list(image_rows(explanation)) == (["frame", "temporal"] if "spatial" in absent else [
        "frame", "spatial", "temporal", "both"])
    for suffix in ("html", "svg", "mp4"):
        explanation.save(tmp_path / f"made.{suffix}")
    page = (tmp_path / "made.html").read_text()
    assert f"Here is {note}." in page and "a person &lt;juggles&gt; balls" in page
    assert ("of the text's relevance" in page) == ("words" not in absent)
    for width in (COLUMN_WIDTH, PAGE_WIDTH):
        drawn = [word for line in word_lines(explanation, width) for _, word, *_ in line]
        assert " ".join(drawn).endswith(f"similarity 0.310 ({note})")
        assert drawn[:4] == ["a", "person", "<juggles>", "balls"]
