"""The bound of calls of a harvest."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.harvest.window import Window

pytestmark = pytest.mark.quick

STEPS = st.lists(st.sampled_from(["enter", "leave", "leave many", "cancel", "free and cancel", "look"]), max_size=40)


@given(st.integers(1, 5), STEPS)
def test_all_places_are_taken_in_turn_whoever_is_cancelled(room: int, steps: list[str]) -> None:
    """As many are inside as there is room for, and the others wait in their order, whatever happens."""

    async def run() -> None:
        window, inside, came = Window(room), list[int](), 0
        waiting: dict[int, asyncio.Task[None]] = {}

        async def enter(number: int) -> None:
            await window.enter()
            inside.append(number)
            del waiting[number]

        async def settle() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        async def cancel() -> None:
            """Cancel the first who waits: others may have been let in meanwhile, and be about to wake."""
            task = waiting.pop(min(waiting))
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        for step in ["enter"] * 2 * room + steps + ["look"]:
            if step == "enter":
                waiting[came] = asyncio.create_task(enter(came))
                came += 1
                await asyncio.sleep(0)
            elif step.startswith("leave") and inside:
                gone = len(inside) if step == "leave many" else 1
                del inside[:gone]
                window.leave(gone)
            elif step == "cancel" and waiting:
                await cancel()
            elif step == "free and cancel" and waiting and inside:
                del inside[:1]
                window.leave()  # to the first who waits, who does not wake before it is cancelled
                await cancel()
            elif step == "look":
                await settle()
                assert len(inside) == min(room, len(inside) + len(waiting))
                assert inside == sorted(inside), "not in their order"
                assert not waiting or min(waiting) > max(inside)
        for task in waiting.values():
            task.cancel()

    asyncio.run(run())
