"""What PyTorch says when another rank is gone or silent becomes one line."""

import pytest

from vrtspike.engine.lost_ranks import explain_lost_rank

CLOSED = "[/w/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:1"
SILENT = "[../gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 20000ms for recv operation"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (CLOSED, "another rank is gone"),
        ("gloo: Connection reset by peer", "another rank is gone"),
        ("NCCL error in: x.cpp, ncclRemoteError: remote process exited", "another rank is gone"),
        (SILENT, "did not answer for 20 s: it hangs"),
    ],
)
def test_a_lost_rank_is_one_line_with_what_pytorch_said(said, told):
    error = explain_lost_rank(RuntimeError(said), timeout_s=20)
    assert told in str(error)
    assert said[:60] in str(error)
    assert "\n" not in str(error)


def test_a_silent_rank_names_the_setting():
    assert "TRAIN.COLLECTIVE_TIMEOUT_S" in str(explain_lost_rank(RuntimeError(SILENT), 20))


@pytest.mark.parametrize(
    "said", ["mat1 and mat2 shapes cannot be multiplied", "CUDA error: device-side assert", ""]
)
def test_other_errors_are_left_alone(said):
    assert explain_lost_rank(RuntimeError(said), 20) is None
