"""The page in a real browser, the machine's own Chromium, where there is one: drawn on, filled in, looked at."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from export.golden import Golden
from serving.playground.server import Playground
from tests.serving.playground.scripted_models import HOSTILE, MODELS, png

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
EXPECTED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="no package playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser, playground):
    """Opens the page at a model. What it asks for until the end must be its own, and no script may fail."""
    contexts, elsewhere, complaints = [], [], []

    def go(place, on=playground, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: is_of(on, request.url) or elsewhere.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(f"{on.url}/#{place}")
        page.get_by_role("button", name="Ask", exact=True).wait_for()
        page.locator("#question:not([aria-busy])").wait_for()  # before, a click may meet what has just moved
        return page

    yield go
    for context in contexts:
        context.close()
    assert not elsewhere
    assert not [text for text in complaints if not EXPECTED.search(text)]


def is_of(playground, url):
    return url.startswith((playground.url, "blob:", "data:"))


def stroke(page, *points):
    """Drawn with the mouse, in shares of the canvas."""
    box = page.locator(".pad canvas").bounding_box()
    (first, *others) = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def sent_picture(scripted, model):
    (value,) = scripted.asked[model][-1]["inputs"]["image_bytes"]
    return base64.b64decode(value["b64"])


def answered(page):
    """The answer, once it is there."""
    page.locator("#lines").wait_for()
    return page.locator("#views")


def test_a_digit_is_drawn_and_answered(visit, scripted):
    page = visit("digit")
    stroke(page, (0.3, 0.2), (0.7, 0.2), (0.4, 0.8))
    assert answered(page).locator(".best strong").inner_text() == "two"
    assert page.locator(".bars .name").all_inner_texts() == ["class 0", "class 1", "two"]
    assert re.fullmatch(r"[\d.,]+ ms, version 1", page.locator("#time").inner_text())
    data = sent_picture(scripted, "digit")
    picture = Image.open(io.BytesIO(data)).convert("L")
    width, height = picture.size
    assert picture.getpixel((width // 2, height // 5)) == 255  # the pen is white …
    assert picture.getpixel((2, 2)) == 0  # … on black
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save drawing.png").click()
    assert saved.value.path().read_bytes() == data
    assert "drawing.png" in page.get_by_label("The request in curl").inner_text()
    assert 'Path("drawing.png")' in page.get_by_label("The request in Python").inner_text()


def test_a_pen_can_be_black_and_paper_be_cleared(visit, scripted):
    page = visit("digit")
    stroke(page, (0.5, 0.5), (0.6, 0.5))
    page.get_by_role("button", name="White on black").click()
    page.get_by_role("button", name="Ask", exact=True).click()
    assert "Draw something" in page.get_by_role("alert").inner_text()
    stroke(page, (0.2, 0.5), (0.8, 0.5))
    answered(page)
    picture = Image.open(io.BytesIO(sent_picture(scripted, "digit"))).convert("L")
    assert (picture.getpixel((140, 140)), picture.getpixel((2, 2))) == (0, 255)


def test_a_drawing_is_placed_as_the_examples_are(visit, scripted, tmp_path):
    example = Image.new("L", (28, 28), 255)
    example.paste(0, (4, 2, 16, 26))
    file = io.BytesIO()
    example.save(file, "PNG")
    golden = Golden({"image_bytes": np.array([file.getvalue()], object)}, {"classes": np.array([b"two"], object)})
    (tmp_path / "1").mkdir()
    golden.save(tmp_path / "1", "bytes")
    with Playground(scripted.url, {"digit": tmp_path}) as known:
        page = visit("digit", on=known)
        page.get_by_label("place a drawing as the examples are").wait_for()
        stroke(page, (0.8, 0.6), (0.8, 0.9))
        answered(page)
        left, top, right, bottom = black_part(sent_picture(scripted, "digit"))
        assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((10 / 28, 14 / 28), abs=0.02)
        assert bottom - top == pytest.approx(24 / 28, abs=0.03)
        page.get_by_label("place a drawing as the examples are").uncheck()
        page.get_by_role("button", name="Ask", exact=True).click()
        page.locator("body:not(.busy)").wait_for()
        left, top, right, bottom = black_part(sent_picture(scripted, "digit"))
        assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((0.8, 0.75), abs=0.02)
        page.get_by_role("button", name="Example 1").click()
        page.get_by_role("link", name="Save example.png").wait_for()
        assert sent_picture(scripted, "digit") == file.getvalue()


def black_part(data):
    """The box of what is black, in shares of the picture: left, top, right, bottom."""
    picture = Image.open(io.BytesIO(data)).convert("L").point(lambda light: 255 - light)
    return [place / side for place, side in zip(picture.getbbox(), picture.size * 2, strict=True)]


def test_a_file_is_sent_to_the_byte(visit, scripted, tmp_path):
    page = visit("digit")
    file = tmp_path / "seven's.png"
    file.write_bytes(png((30, 20), 180))
    page.get_by_label("Choose a file for image_bytes").set_input_files(file)
    answered(page)
    assert sent_picture(scripted, "digit") == file.read_bytes()
    assert "seven's.png, 30 × 20" in page.locator(".pad ~ .hint").inner_text()
    stroke(page, (0.1, 0.5), (0.9, 0.5))  # what is drawn upon is another picture
    page.get_by_role("link", name="Save drawing.png").wait_for()
    assert Image.open(io.BytesIO(sent_picture(scripted, "digit"))).size == (30, 20)


def test_a_picture_is_dropped(visit, scripted):
    page = visit("digit")
    data = png((10, 10), 77)
    page.evaluate(
        """([data]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([Uint8Array.from(data)], 'dropped.png', { type: 'image/png' }));
          document.querySelector('.pad').dispatchEvent(new DragEvent('drop', { dataTransfer: transfer }));
        }""",
        [list(data)],
    )
    answered(page)
    assert sent_picture(scripted, "digit") == data


def test_a_heat_map_lies_over_the_picture(visit):
    page = visit("digit/explain")
    stroke(page, (0.3, 0.2), (0.7, 0.8))
    overlay = answered(page).locator(".stage canvas")
    warmths = overlay.evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 2, 2).data].filter((_, i) => i % 4 === 3)"
    )
    assert warmths[0] < warmths[1] < warmths[3]


def test_a_text_is_typed_and_what_the_server_says_stays_text(visit, scripted):
    page = visit("hostile")
    text = page.get_by_label("text", exact=True)
    text.fill(HOSTILE)
    text.press("Control+Enter")
    assert answered(page).locator(".best strong").inner_text() == HOSTILE
    assert base64.b64decode(scripted.asked["hostile"][-1]["inputs"]["text"][0]["b64"]).decode() == HOSTILE
    assert page.title() == "hostile · Playground"
    assert page.locator("#views img, #lines img").count() == 0


def test_an_error_is_shown_in_the_servers_words(visit):
    page = visit("hostile")
    page.get_by_label("text", exact=True).fill("fail")
    page.get_by_role("button", name="Ask", exact=True).click()
    assert "INVALID <b>input</b>" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="gone").click()
    assert "no gone" in page.get_by_role("alert").filter(has_text="gone").inner_text()


def test_a_row_is_filled_in_with_the_keyboard(visit, scripted):
    page = visit("row")
    page.get_by_label("age").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("59")
    page.keyboard.press("Tab")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("0.25")
    page.keyboard.press("Enter")
    assert answered(page).locator("strong").inner_text() == "152.25"
    assert scripted.asked["row"][-1]["inputs"] == {"age": [59.0], "bmi": [0.25]}
    count = len(scripted.asked["row"])
    page.get_by_label("bmi").fill("")
    page.get_by_role("button", name="Ask", exact=True).click()
    assert page.get_by_role("alert").inner_text() == "bmi: a number is wanted."
    assert page.get_by_label("bmi").get_attribute("aria-invalid") == "true"
    assert len(scripted.asked["row"]) == count


def test_boxes_are_drawn_where_they_are(visit, tmp_path):
    page = visit("scenes")
    (tmp_path / "scene.png").write_bytes(png((40, 30), (9, 99, 200), "RGB"))
    page.get_by_label("Choose a file for image_bytes").set_input_files(tmp_path / "scene.png")
    boxes = answered(page).locator("svg g > rect:first-child")
    assert boxes.count() == 1  # the surer one
    assert [boxes.get_attribute(name) for name in ("x", "y", "width", "height")] == ["3", "2", "27", "18"]
    assert page.locator("svg").get_attribute("viewBox") == "0 0 40 30"
    page.get_by_label("least score").fill("0")
    assert boxes.count() == 2
    assert page.locator(".legend").inner_text().split() == ["cat", "0.90", "dog", "0.10"]


def test_a_mask_lies_over_the_picture(visit, tmp_path):
    page = visit("masks")
    (tmp_path / "scene.png").write_bytes(png((8, 8), 120))
    page.get_by_label("Choose a file for image_bytes").set_input_files(tmp_path / "scene.png")
    overlay = answered(page).locator(".stage canvas")
    top, bottom = overlay.evaluate(
        "canvas => [1, 6].map((y) => [...canvas.getContext('2d').getImageData(4, y, 1, 1).data])"
    )
    assert top[3] == 0
    assert bottom[3] == 255
    assert page.locator(".legend").inner_text().split() == ["class", "0", "50.0", "%", "class", "2", "50.0", "%"]
    page.get_by_role("slider", name="mask").fill("0.25")
    assert overlay.evaluate("canvas => canvas.style.opacity") == "0.25"


def test_a_picture_stands_beside_what_was_made_of_it(visit, tmp_path):
    page = visit("style")
    (tmp_path / "photo.png").write_bytes(png((40, 30), 120))
    page.get_by_label("Choose a file for image_bytes").set_input_files(tmp_path / "photo.png")
    pictures = answered(page).locator("figure img")
    assert pictures.evaluate_all("all => all.map((each) => each.naturalWidth)") == [40, 8]
    assert page.locator("#views figcaption").all_inner_texts() == ["asked", "answered"]


def test_words_texts_and_pictures_that_are_made(visit, scripted):
    page = visit("words")
    page.get_by_label("text", exact=True).fill("Ada sleeps")
    page.get_by_role("button", name="Ask", exact=True).click()
    assert answered(page).locator(".tag").all_inner_texts() == ["Ada\nperson", "sleeps\nO"]

    page = visit("writer")
    page.get_by_label("text", exact=True).fill("Once upon")
    page.get_by_label("temperature").fill("0.7")
    page.get_by_role("button", name="Ask", exact=True).click()
    assert answered(page).locator(".given").inner_text() == "Once upon"
    assert page.locator(".prose").inner_text() == "Once upon a time"
    asked = scripted.asked["writer"][-1]["inputs"]
    assert (asked["max_new_tokens"], asked["top_p"], asked["seed"]) == ([64], [1.0], [0])
    assert asked["temperature"] == pytest.approx([0.7])

    page = visit("painter")
    page.get_by_label("Another seed").click()
    assert answered(page).locator("img").count() == 2
    assert scripted.asked["painter"][-1]["inputs"]["seed"] != [0]


def test_a_tensor_is_written_as_json(visit, scripted):
    page = visit("painter/serving_default")
    page.get_by_label("latent").fill("[[1, 2")
    page.get_by_role("button", name="Ask", exact=True).click()
    assert page.get_by_role("alert").inner_text().startswith("latent: no JSON")
    page.get_by_role("button", name="Random numbers").click()
    assert answered(page).inner_text() == ""
    (latent,) = scripted.asked["painter"][-1]["inputs"]["latent"]
    assert len(latent) == 3
    assert any(latent)
    assert page.locator("#outputs td").all_inner_texts()[:2] == ["image", "float32[1, 2, 2]"]


def test_the_address_leads_back_to_the_model_and_its_signature(visit):
    page = visit("digit")
    page.get_by_label("signature").select_option("explain")
    page.get_by_role("button", name="row").click()
    page.get_by_label("age").wait_for()
    assert page.url.endswith("#row")
    page.go_back()
    page.locator(".pad canvas").wait_for()
    assert page.get_by_label("signature").input_value() == "explain"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", [PHONE, {"color_scheme": "light"}], ids=["phone, dark", "desk, light"])
def test_who_cannot_see_well_or_use_a_mouse_is_served_too(visit, model, options):
    """The rules of axe-core: names, labels, landmarks, contrast. And nothing is wider than a phone."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(model, **options)
    if page.locator(".pad").count():
        box = page.locator(".pad canvas").bounding_box()
        page.locator(".pad canvas").click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    else:
        page.get_by_role("button", name="Ask", exact=True).click()
    answered(page)
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = max(map(int, re.findall(r"\d+", background))) < 64
    assert is_dark == (options["color_scheme"] == "dark")


def test_a_finger_draws_too(visit, scripted):
    page = visit("digit", **PHONE)
    box = page.locator(".pad canvas").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    answered(page)
    picture = Image.open(io.BytesIO(sent_picture(scripted, "digit"))).convert("L")
    assert picture.getpixel((140, 140)) == 255
