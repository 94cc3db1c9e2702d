from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity, kl_div, smooth_l1_loss

from polydistill.losses.relational.pairwise_similarity import pairwise_similarity
from polydistill.losses.relational.relational_distance import relational_distance
from polydistill.losses.relational.similarity_distribution import SimilarityDistribution

DRAW = torch.Generator().manual_seed(0)
STUDENT = torch.randn(5, 4, generator=DRAW)
TARGET = torch.randn(5, 3, generator=DRAW)
ALL = torch.ones(5, dtype=torch.bool)


def test_pairwise_similarity_is_the_mean_over_the_other_rows() -> None:
    term = pairwise_similarity(STUDENT, [TARGET], [ALL], scale=1.0)

    for row in range(5):
        others = [other for other in range(5) if other != row]
        own = cosine_similarity(STUDENT[[row]], STUDENT[others])
        theirs = cosine_similarity(TARGET[[row]], TARGET[others])
        torch.testing.assert_close(term[row], ((own - theirs) ** 2).mean())


def test_relational_distance_compares_distances_in_units_of_their_mean() -> None:
    term = relational_distance(STUDENT, [TARGET], [ALL])

    own, theirs = torch.cdist(STUDENT, STUDENT), torch.cdist(TARGET, TARGET)
    off = ~torch.eye(5, dtype=torch.bool)
    loss = smooth_l1_loss(own / own[off].mean(), theirs / theirs[off].mean(), reduction="none")
    torch.testing.assert_close(term, (loss * off).sum(dim=1) / 4)


def test_equal_rows_leave_the_relational_gradient_finite() -> None:
    student = STUDENT[[0, 0, 1, 2, 3]].clone().requires_grad_()

    relational_distance(student, [TARGET], [ALL]).sum().backward()

    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_a_scaled_copy_of_the_teacher_has_no_relational_loss() -> None:
    assert relational_distance(7 * TARGET, [TARGET], [ALL]).max() < 1e-10


def test_similarity_distributions_are_compared_by_kl_divergence() -> None:
    module = SimilarityDistribution(4, [3], queue=0, temperature=0.5)

    term = module(STUDENT, [TARGET], [ALL])

    for row in range(5):
        others = [other for other in range(5) if other != row]
        own = (cosine_similarity(STUDENT[[row]], STUDENT[others]) / 0.5).log_softmax(dim=0)
        theirs = (cosine_similarity(TARGET[[row]], TARGET[others]) / 0.5).log_softmax(dim=0)
        expected = kl_div(own, theirs, reduction="sum", log_target=True)
        torch.testing.assert_close(term[row], expected)


def test_the_queue_holds_the_newest_rows_and_marks_missing_ones() -> None:
    module = SimilarityDistribution(4, [3], queue=7)
    first = module(STUDENT, [TARGET], [ALL])
    again = module(STUDENT, [TARGET], [torch.tensor([True, True, False, True, True])])

    assert not torch.allclose(first[0], again[0])  # the queue adds rows to compare with
    assert int(module.place) == 3
    torch.testing.assert_close(module.student_queue[5:], STUDENT[:2])
    torch.testing.assert_close(module.student_queue[:3], STUDENT[2:])
    assert module.present[0].tolist() == [False, True, True, True, True, True, True]


def test_the_queue_does_not_change_in_evaluation_mode() -> None:
    module = SimilarityDistribution(4, [3], queue=7).eval()

    module(STUDENT, [TARGET], [ALL])

    assert not module.present.any()


@pytest.mark.parametrize("queue", [0, 7])
def test_a_batch_of_one_row_has_no_relational_loss(queue: int) -> None:
    module = SimilarityDistribution(4, [3], queue=queue)

    assert module(STUDENT[:1], [TARGET[:1]], [ALL[:1]]).tolist() == [0.0]
