"""What tests do with the page of a judge: find, press, drag, and wait for the next item."""

import time
from collections.abc import Callable
from typing import Any


def element_of(browser: Any, name: str) -> Any:
    """Return the element of a data-testid."""
    return browser.find_element("css selector", f'[data-testid="{name}"]')


def texts_shown(browser: Any) -> list[str]:
    """Return the answers in the order in which they are shown."""
    script = (
        "return [...document.querySelectorAll('.answer .text')].map(e => e.textContent)"
    )
    texts: list[str] = browser.execute_script(script)
    return texts


def press(browser: Any, *keys: str) -> None:
    """Press keys one after another, wherever the focus is."""
    from selenium.webdriver import ActionChains, Keys

    chain = ActionChains(browser, duration=0)
    for key in keys:
        chain.send_keys(getattr(Keys, key) if len(key) > 1 else key)
    chain.perform()


def answered(browser: Any, act: Callable[[], None]) -> None:
    """Do what sends an answer, and wait until the next page is there."""
    browser.execute_script("window.isOld = true")
    act()
    end = time.monotonic() + 60
    while not is_new_page(browser):
        assert time.monotonic() < end, element_of(browser, "live").text
        time.sleep(0.01)


def is_new_page(browser: Any) -> bool:
    """Return whether another page than that of `answered` is complete; during a navigation no."""
    from selenium.common.exceptions import WebDriverException

    script = "return !window.isOld && document.readyState === 'complete'"
    try:
        return bool(browser.execute_script(script))
    except WebDriverException:
        return False


def at_size(browser: Any, width: int, height: int) -> None:
    """Make the page as large as a screen, in CSS pixels."""
    size = {
        "width": width,
        "height": height,
        "deviceScaleFactor": 1,
        "mobile": width < 600,
    }
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def drag(browser: Any, start: Any, end: Any, share: float) -> None:
    """Drag an element with the mouse to a height of another one. share: 0 its top, 1 its bottom."""
    from selenium.webdriver import ActionChains

    offset = round((share - 0.5) * end.size["height"])
    chain = ActionChains(browser, duration=20)
    chain.click_and_hold(start).move_by_offset(0, 10)
    chain.move_to_element_with_offset(end, 0, offset).release().perform()


def tap(browser: Any, *names: str) -> None:
    """Tap elements with a finger."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    for name in names:
        finger = PointerInput(POINTER_TOUCH, "finger")
        actions = ActionBuilder(browser, mouse=finger, duration=0)
        element = element_of(browser, name)
        browser.execute_script(
            "arguments[0].scrollIntoView({block: 'center'})", element
        )
        actions.pointer_action.move_to(element).pointer_down().pointer_up()
        actions.perform()
