"""Projections put into networks, and how sparse their layers are."""

import copy

import numpy as np
import pytest

from sparsegen_classic.convolutional import sparsity_counts

torch = pytest.importorskip("torch", reason="the layers are torch modules")
neural = pytest.importorskip("sparsegen_classic.neural")
NeedleProjection, sparsify, sparsity_levels = neural.NeedleProjection, neural.sparsify, neural.sparsity_levels


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 6, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 1, 3),
    )


def test_every_layer_has_its_own_k():
    network, x = small_network(), torch.randn(5, 1, 16, 16)
    dense, names = network(x), list(network.state_dict())
    with sparsify(network, {"1": NeedleProjection(3), "3": NeedleProjection(1)}) as handle:
        assert list(network.state_dict()) == names
        levels = sparsity_levels(network, x, ["1", "3"])
        assert [level.largest_needle for level in levels] == [3, 1]
        by_hand = NeedleProjection(3)(network[1](network[0](x)))
        assert not torch.equal(network(x), dense)
        copied = copy.deepcopy(network)
        assert torch.equal(copied(x), network(x))
    assert torch.equal(network(x), dense)
    handle.remove()  # twice is fine
    assert torch.equal(by_hand, network[1](network[0](x)) * NeedleProjection(3).mask(by_hand))
    with pytest.raises(ValueError, match=r"projections names \['nine'\].*it has 0, 1, 2, 3, 4"):
        sparsify(network, {"nine": NeedleProjection(1)})


def test_gradients_stop_at_what_a_hook_removed():
    network, x = small_network(), torch.randn(2, 1, 16, 16)
    with sparsify(network, {"1": NeedleProjection(0)}):
        network(x).sum().backward()
    assert not network[0].weight.grad.any()
    assert network[4].bias.grad.any()


def test_levels_are_counts():
    network = small_network()
    batches = [torch.randn(3, 1, 16, 16), torch.randn(2, 1, 16, 16)]
    together = sparsity_levels(network, torch.cat(batches))
    apart = sparsity_levels(network, [(batch, "label") for batch in batches])
    assert [level.name for level in together] == ["0", "1", "2", "3", "4"]
    for one, other in zip(together, apart, strict=True):
        assert (one.share, one.largest_needle, one.n_samples) == pytest.approx(
            (other.share, other.largest_needle, 5)
        )
        np.testing.assert_allclose(one.needle_map, other.needle_map)
    maps = network[:2](torch.cat(batches)).detach().numpy()
    counts = sparsity_counts(maps, (3, 3))
    assert together[1].largest_needle == counts.needle
    np.testing.assert_allclose(together[1].needle_map, counts.needle_map.mean(axis=0))
    assert together[1].share == pytest.approx(np.mean(maps != 0))
    assert str(together[1]).startswith("1 (8x14x14): ")


def test_what_cannot_be_counted_is_named():
    network, x = small_network(), torch.randn(2, 1, 16, 16)
    with pytest.raises(ValueError, match=r"layers names \['9'\]"):
        sparsity_levels(network, x, ["9"])
    with pytest.raises(ValueError, match="must keep its shape"):
        sparsity_levels(network, [x, x[:, :, :12]])
    with pytest.raises(ValueError, match="gave no floating-point activations"):
        sparsity_levels(torch.nn.Sequential(torch.nn.Identity()), torch.ones(2, 3, dtype=torch.int64), ["0"])
    assert all(not module._forward_hooks for module in network.modules())
