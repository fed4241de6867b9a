"""A headless Chromium that reaches nothing but this machine."""

import time

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.common.action_chains import ActionChains

TIMEOUT_S = 30.0
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
    # No name resolves, and no other address is tried.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

# How many pixels of the first chart have a colour, and a hash of them all.
INK = """
const canvas = document.querySelector('#charts canvas');
if (!canvas) return {colored: 0, hash: 0};
const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
let colored = 0, hash = 0;
for (let at = 0; at < data.length; at += 4) {
  const [red, green, blue, alpha] = [data[at], data[at + 1], data[at + 2], data[at + 3]];
  if (alpha > 128 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) colored += 1;
  hash = (hash * 31 + red * 7 + green * 3 + blue + alpha) | 0;
}
return {colored, hash};
"""


class Browser:
    """One window of a new profile, closed at the end of a `with`."""

    def __init__(self, url, folder):
        self.url = url
        self.folder = folder

    def __enter__(self):
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(TIMEOUT_S)
        permissions = {"origin": self.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        self.driver.execute_cdp_cmd("Browser.grantPermissions", permissions)
        self.size(1280, 900)
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def size(self, width, height, phone=False):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})

    def scheme(self, name):
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, view=""):
        """Loads the page with this view."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/{view}")

    def open_drawn(self, view=""):
        """Loads the page and waits until its chart shows something."""
        self.open(view)
        self.wait(lambda: self.ink()["colored"] > 100, "a chart that is drawn")

    def wait(self, condition, what, timeout_s=TIMEOUT_S):
        """Asks until `condition` gives something true, and returns that."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"timed out waiting for {what}"
            time.sleep(0.05)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def ink(self):
        return self.run(INK)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector)

    def is_shown(self, selector):
        return self.run("return document.querySelector(arguments[0])?.checkVisibility() ?? false", selector)

    def keys(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def actions(self):
        return ActionChains(self.driver)

    def focused(self):
        return self.run("const at = document.activeElement; return at.id || at.className || at.tagName")

    def copied(self):
        return self.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))")

    def errors(self):
        """What the console complained of."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]

    def shot(self, name):
        if self.folder:
            self.driver.save_screenshot(str(self.folder / f"{name}.png"))


__all__ = ["Browser", "Keys"]
