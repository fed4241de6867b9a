"""What the page must do. Each check gets a browser of its own; what it returns is why it was left out."""

import json
import subprocess

import requests
from browser import Keys


def view(table, **more):
    """The address of a view of a table."""
    names = {"field": "temperature", "by": "device", **more}
    return "#" + "&".join([f"table={table}", *(f"{name}={value}" for name, value in names.items())])


def before_the_first_row(browser, rows):
    if rows.has_tables():
        return "this node has tables already"
    browser.open()
    browser.wait(lambda: browser.is_shown("#first-row"), "the lines for a first row")
    node = requests.get(f"{rows.url}/api/v1/node", timeout=10).json()
    lines = browser.texts("#first-row code")
    port = node["mqtt"].rsplit(":", 1)[1]
    mosquitto, *curls = lines
    assert mosquitto.startswith("mosquitto_pub") and (port == "1883" or f"-p {port}" in mosquitto), lines
    assert len(curls) == 2 and all(rows.url in line for line in curls), lines
    browser.shot("first-row")
    for line in curls:
        sent = subprocess.run([*["bash", "-c"], f"{line} -s -o /dev/null -w '%{{http_code}}'"], capture_output=True, text=True)
        assert sent.stdout in ("200", "204"), (line, sent)
    browser.wait(lambda: browser.is_shown("#app"), "the chart once there are rows")
    assert not browser.is_shown("#first-row")


def tables_and_fields_are_listed(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table))
    assert table in browser.texts("#ask-table option")
    assert browser.run("return document.querySelector('#ask-table').selectedOptions[0].text") == table
    assert browser.texts("input[name=field] + span") == ["temperature", "humidity", "starts", "note"]
    assert sorted(browser.texts("input[name=tag] + span")) == ["device", "site"]
    assert browser.texts("#legend .key") == ["dev0", "dev1", "dev2"]
    assert not browser.is_shown("#problem"), browser.text("#problem")
    assert browser.errors() == []
    browser.wait(lambda: browser.text("#rate-rows") != "–", "rates")
    assert browser.text("#version")
    browser.shot("light")


def a_table_is_chosen_by_itself(browser, rows):
    rows.table()
    browser.open_drawn()
    assert "table=" in browser.run("return location.hash")


def new_rows_move_the_chart(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table, range="15m"))
    before = browser.ink()["hash"]
    browser.wait(lambda: browser.all("#rows tbody tr"), "rows")
    rows.row(table, 400.0)
    browser.wait(lambda: browser.text("#legend tbody tr:first-child .number") not in ("", "–") and float(browser.text("#legend tbody tr:first-child .number").replace(",", "")) > 100, "the new value in the legend")
    assert browser.ink()["hash"] != before
    browser.wait(lambda: "400" in browser.texts("#rows tbody tr:first-child td"), "the new row among the newest")


def it_rests_while_it_is_hidden_or_not_live(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table))
    browser.run(
        "window.asked = 0; const real = fetch; window.fetch = (url, ...more) => { if (String(url).includes('/query')) window.asked += 1; return real(url, ...more); };"
    )
    browser.wait(lambda: browser.run("return window.asked") >= 2, "repeated questions")
    browser.run("Object.defineProperty(document, 'hidden', {value: true, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))")
    settle(browser)
    hidden = browser.run("return window.asked")
    browser.wait(lambda: browser.run("return performance.now() - (window.since ??= performance.now()) > 2500"), "some time")
    assert browser.run("return window.asked") == hidden
    browser.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    browser.wait(lambda: browser.run("return window.asked") > hidden, "questions once it is seen again")
    browser.keys("l")
    assert "live=off" in browser.run("return location.hash")
    settle(browser)
    off = browser.run("return window.asked")
    browser.run("window.since = undefined")
    browser.wait(lambda: browser.run("return performance.now() - (window.since ??= performance.now()) > 2500"), "some time")
    assert browser.run("return window.asked") == off


def settle(browser):
    """Lets what was asked already come back."""
    browser.driver.execute_async_script("setTimeout(arguments[0], 300)")


def what_is_copied_can_be_asked(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table, field="temperature&field=humidity", where="temperature > -300", tag="site", **{"is": "site0"}))
    browser.find("#copy-url").click()
    browser.wait(lambda: browser.text("#copy-url") == "Copied", "the address copied")
    answer = requests.get(browser.copied(), timeout=30)
    assert answer.status_code == 200, answer.text
    columns = [column["name"] for column in answer.json()["columns"]]
    assert columns == ["time", "device", "mean(temperature)", "mean(humidity)"], columns
    assert {row[1] for row in answer.json()["rows"]} == {"dev0", "dev2"}
    browser.find("#copy-curl").click()
    browser.wait(lambda: browser.text("#copy-curl") == "Copied", "the curl line copied")
    line = browser.copied()
    assert line == browser.text("#curl")
    told = subprocess.run(["bash", "-c", f"{line} -s"], capture_output=True, text=True, check=True)
    assert [column["name"] for column in json.loads(told.stdout)["columns"]] == columns


def a_view_lives_in_its_address(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table))
    browser.run("document.querySelector('input[value=humidity]').click()")
    browser.run("document.querySelector('input[name=tag][value=site]').click()")
    browser.run("const fn = document.querySelector('#ask-fn'); fn.value = 'max'; fn.dispatchEvent(new Event('change'))")
    browser.run("document.querySelector('#ranges button[value=\"15m\"]').click()")
    browser.wait(lambda: browser.texts(".chart h3") == ["max(temperature)", "max(humidity)"], "two charts")
    address = browser.run("return location.href")
    browser.driver.get("about:blank")
    browser.driver.get(address)
    browser.wait(lambda: browser.texts(".chart h3") == ["max(temperature)", "max(humidity)"], "the same charts")
    series = {tuple(sorted(label.split(" · "))) for label in browser.texts("#legend .key")}
    assert series == {("dev0", "site0"), ("dev2", "site0"), ("dev1", "site1")}, series
    assert browser.find("#ranges button[value='15m']").get_attribute("aria-pressed") == "true"
    browser.shot("two-fields")


def a_wrong_question_is_explained(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table))
    browser.find("#ask-where").send_keys("temperatur > 20", Keys.ENTER)
    browser.wait(lambda: browser.is_shown("#problem"), "the problem")
    assert "temperatur" in browser.text("#problem"), browser.text("#problem")
    browser.shot("problem")
    browser.find("#ask-where").clear()
    browser.find("#ask-where").send_keys("temperature > 20", Keys.ENTER)
    browser.wait(lambda: not browser.is_shown("#problem"), "the problem to be gone")


def odd_names_and_texts_are_asked_rightly(browser, rows):
    table = rows.name()
    rows.write([rf"""{table},the\ place=o'Brien\ "x" a\,b=1.5,it's=2"""])
    browser.open()
    browser.wait(lambda: browser.is_shown("#app"), "the page")
    browser.open(f"#table={table}")
    browser.wait(lambda: browser.texts("#legend .key") == ["o'Brien \"x\""], "the series")
    browser.run("document.querySelectorAll('input[name=field]').forEach((box) => box.checked || box.click())")
    browser.wait(lambda: len(browser.all(".chart")) == 2, "both fields")
    assert not browser.is_shown("#problem"), browser.text("#problem")
    assert browser.text("#curl").startswith("curl -G ")
    told = subprocess.run(["bash", "-c", f"{browser.text('#curl')} -s"], capture_output=True, text=True, check=True)
    assert len(json.loads(told.stdout)["rows"]) == 1, told.stdout
    browser.run("const tag = document.querySelector('#ask-tag'); tag.value = 'the place'; tag.dispatchEvent(new Event('change'))")
    values = "return [...document.querySelectorAll('#ask-values option')].map((each) => each.value)"
    assert browser.wait(lambda: browser.run(values), "values of the tag") == ["o'Brien \"x\""]
    browser.find("#ask-is").send_keys("o'Brien \"x\"", Keys.ENTER)
    browser.wait(lambda: "''Brien" in browser.text("#curl"), "the filter")
    browser.wait(lambda: len(browser.all(".chart")) == 2, "both fields still")
    assert not browser.is_shown("#problem"), browser.text("#problem")


def many_series_are_bounded(browser, rows):
    table = rows.table(devices=30, minutes=20, step_s=30)
    browser.open_drawn(view(table))
    assert len(browser.all("#legend .key")) == 20
    assert "20 of 30" in browser.text("#note")
    browser.shot("many-series")


def all_is_done_with_keys(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table))
    browser.keys(Keys.TAB)
    assert browser.focused() == "skip"
    browser.keys(Keys.ENTER)
    assert browser.focused() == "view"
    assert f"table={table}" in browser.run("return location.hash"), "what is asked stays"
    browser.keys("3")
    pressed = "return document.querySelector('#ranges [aria-pressed=true]').value"
    assert browser.run(pressed) == "6h"
    browser.keys("1")
    assert browser.run(pressed) == "15m"
    browser.keys("/")
    assert browser.focused() == "ask-where"
    browser.keys("3")
    assert browser.run(pressed) == "15m", "keys are text within a field"
    browser.keys(Keys.BACKSPACE)
    browser.run("document.querySelector('#charts').focus()")
    browser.keys(Keys.ARROW_LEFT)
    browser.wait(lambda: ":" in browser.text("#legend thead th"), "the cursor's time in the legend")
    first = browser.text("#legend thead th")
    browser.keys(Keys.ARROW_LEFT)
    browser.wait(lambda: browser.text("#legend thead th") != first, "the cursor to move")
    browser.run("document.querySelector('#legend .key').focus()")
    browser.keys(Keys.SPACE)
    is_pressed = "return document.activeElement.getAttribute('aria-pressed')"
    browser.wait(lambda: browser.run(is_pressed) == "false", "a series hidden, with its key still in focus")
    browser.keys(Keys.SPACE)
    browser.wait(lambda: browser.run(is_pressed) == "true", "the series shown again")
    browser.keys("?")
    assert browser.is_shown("#keys")
    browser.keys(Keys.ESCAPE)
    assert not browser.is_shown("#keys")
    reached = tab_through(browser)
    for wanted in ["help", "theme", "ask-table", "ask-fn", "ask-window", "ask-where", "live", "charts", "copy-url", "copy-curl"]:
        assert wanted in reached, (wanted, reached)


def tab_through(browser):
    """What the tabulator key reaches from the top."""
    browser.run("document.activeElement.blur(); window.getSelection().removeAllRanges()")
    reached = set()
    for _ in range(80):
        browser.keys(Keys.TAB)
        reached.add(browser.focused())
    return reached


def everything_has_a_name(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table))
    browser.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "combobox", "textbox", "checkbox", "switch", "image", "img", "region", "listbox"}
    unnamed = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles and not node.get("name", {}).get("value")
    ]
    assert unnamed == [], unnamed


def dragging_asks_for_less(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table))
    over = browser.find("#charts .u-over")
    drag = browser.actions().move_to_element_with_offset(over, -100, 0).click_and_hold()
    drag.move_by_offset(120, 0).release().perform()
    browser.wait(lambda: "range=custom" in browser.run("return location.hash"), "a range of its own")
    browser.wait(lambda: browser.is_shown("#from"), "its ends to be shown")
    browser.wait(lambda: "start=20" in browser.text("#curl").replace("'", ""), "its ends in the question")


def dark_and_light(browser, rows):
    table = rows.table()
    browser.scheme("dark")
    browser.open_drawn(view(table))
    ground = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((sum, part) => sum + part) < 200"
    assert browser.run(ground)
    browser.shot("dark")
    browser.keys("t")
    assert browser.text("#theme") == "Theme: light"
    assert not browser.run(ground)
    browser.open_drawn(view(table))
    assert not browser.run(ground), "the choice is kept"
    browser.keys("t")
    assert browser.text("#theme") == "Theme: dark"
    browser.keys("t")
    browser.scheme("light")
    browser.wait(lambda: not browser.run(ground), "the system's theme")


def a_phone_is_wide_enough(browser, rows):
    table = rows.table()
    browser.size(360, 740, phone=True)
    browser.open_drawn(view(table, field="temperature&field=humidity"))
    too_wide = "return document.documentElement.scrollWidth > innerWidth || document.body.scrollWidth > innerWidth"
    assert not browser.run(too_wide)
    assert not browser.is_shown("#ask-table")
    browser.shot("phone")
    browser.find("#ask-toggle").click()
    assert browser.is_shown("#ask-table")
    assert not browser.run(too_wide)
    browser.shot("phone-form")
    small = "return [...document.querySelectorAll('button, select, input[type=text]')].filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 34).map((each) => each.id || each.textContent)"
    assert browser.run(small) == [], browser.run(small)
    browser.size(1280, 900)
    browser.wait(lambda: browser.run("return document.querySelector('#charts canvas').clientWidth > 700"), "the chart to fill a wide window")


def nothing_comes_from_elsewhere(browser, rows):
    table = rows.table()
    browser.open_drawn(view(table))
    asked = browser.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert asked and all(each.startswith(f"{rows.url}/") for each in asked), asked
    answer = requests.get(f"{rows.url}/", timeout=10)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    again = requests.get(f"{rows.url}/", headers={"if-none-match": answer.headers["etag"]}, timeout=10)
    assert again.status_code == 304
    browser.shot("wide")


CHECKS = [
    before_the_first_row,
    tables_and_fields_are_listed,
    a_table_is_chosen_by_itself,
    new_rows_move_the_chart,
    it_rests_while_it_is_hidden_or_not_live,
    what_is_copied_can_be_asked,
    a_view_lives_in_its_address,
    a_wrong_question_is_explained,
    odd_names_and_texts_are_asked_rightly,
    many_series_are_bounded,
    all_is_done_with_keys,
    everything_has_a_name,
    dragging_asks_for_less,
    dark_and_light,
    a_phone_is_wide_enough,
    nothing_comes_from_elsewhere,
]
