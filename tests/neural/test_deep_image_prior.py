"""Sparsity in the encoder of a deep image prior, where Ganz and Elad put it: the hourglass of C6.2."""

import pytest

torch = pytest.importorskip("torch", reason="the layers are torch modules")
neural = pytest.importorskip("sparsegen_classic.neural")
nn = torch.nn


def conv(c_in, c_out, size, stride=1):
    pad = nn.ReflectionPad2d((size - 1) // 2)
    return [pad, nn.Conv2d(c_in, c_out, size, stride), nn.BatchNorm2d(c_out), nn.LeakyReLU(0.2)]


class Scale(nn.Module):
    """One scale of the hourglass around the deeper ones."""

    def __init__(self, c_in, deeper):
        super().__init__()
        self.down = nn.Sequential(*conv(c_in, 128, 3, 2), *conv(128, 128, 3))
        self.skip = nn.Sequential(*conv(c_in, 4, 1))
        self.deeper = deeper
        self.rise = nn.Upsample(scale_factor=2, mode="bilinear")
        self.up = nn.Sequential(nn.BatchNorm2d(132), *conv(132, 128, 3), *conv(128, 128, 1))

    def forward(self, x):
        deep = self.down(x)
        deep = self.rise(deep if self.deeper is None else self.deeper(deep))
        return self.up(torch.cat([self.skip(x), deep], 1))


def hourglass(n_scales=5):
    scale = None
    for i in reversed(range(n_scales)):
        scale = Scale(32 if i == 0 else 128, scale)
    return nn.Sequential(scale, nn.Conv2d(128, 3, 1), nn.Sigmoid())


def test_c62_number_of_parameters_with_and_without_projections():
    network = hourglass()
    ends = ["0." + "deeper." * i + "down" for i in range(5)]
    handle = neural.sparsify(network, {end: neural.NeedleProjection(13) for end in ends})
    assert sum(p.numel() for p in network.parameters()) == 2_217_831
    x = 0.1 * torch.rand(1, 32, 64, 64)
    levels = neural.sparsity_levels(network, x, ends)
    assert [level.largest_needle for level in levels] == [13] * 5
    assert [level.needle_map.shape for level in levels] == [(s, s) for s in (32, 16, 8, 4, 2)]
    network(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    handle.remove()
    assert neural.sparsity_levels(network, x, ends)[0].largest_needle == 128
