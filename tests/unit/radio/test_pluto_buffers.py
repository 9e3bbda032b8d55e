"""How a Pluto's buffers follow from its rate, by what a block and a queue are to last."""

from __future__ import annotations

import pytest

from testbed.radio.pluto_buffers import layout


@pytest.mark.parametrize("rate_hz", [520_834, 1.92e6, 2.5e6, 3.84e6, 15.36e6, 61.44e6])
def test_a_block_lasts_5_ms_and_the_queue_80_at_any_rate(rate_hz: float):
    """To 2 %, in whole DMA words, far below the 2.5 s that a buffer may last; one channel of it in under 2 MB."""
    shape = layout(rate_hz, waits=False)
    assert shape.block_samples / rate_hz == pytest.approx(5e-3, rel=0.02)
    assert shape.rx_blocks * shape.block_samples / rate_hz == pytest.approx(80e-3, rel=0.04)
    assert shape.tx_samples / rate_hz == pytest.approx(80e-3, rel=0.04)
    assert shape.block_samples % 2 == 0
    assert shape.block_samples * 4 < 2e6
    assert shape.stale_blocks > shape.rx_blocks


def test_where_time_waits_nothing_is_stale_and_the_queue_is_short():
    shape = layout(1.92e6, waits=True)
    assert (shape.block_samples, shape.tx_blocks, shape.stale_blocks) == (9600, 4, 0)
