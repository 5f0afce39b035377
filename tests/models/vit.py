"""A small vision transformer (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021).

Attention is either written out around ``scaled_dot_product_attention``, with timm's names of layers
and a class token, or torch's own ``MultiheadAttention`` with the tokens averaged.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tests.models import prepared


class Attention(nn.Module):
    """Multi-head self-attention, (N, T, width) to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(n, t, width))


class TorchAttention(nn.Module):
    """The same by ``nn.MultiheadAttention``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, x, x, need_weights=False)[0]


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, attention: type[nn.Module]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """(N, 3, H, W) to (N, T, width): one token a patch."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """(N, 3, size, size) to (N, classes)."""

    def __init__(
        self,
        size: int = 32,
        patch: int = 8,
        width: int = 64,
        depth: int = 3,
        heads: int = 4,
        classes: int = 10,
        class_token: bool = True,
        attention: type[nn.Module] = Attention,
    ) -> None:
        super().__init__()
        tokens = (size // patch) ** 2 + class_token
        self.patch_embed = PatchEmbed(patch, width)
        self.cls_token = nn.Parameter(0.5 * torch.randn(1, 1, width)) if class_token else None
        self.pos_embed = nn.Parameter(0.5 * torch.randn(1, tokens, width))
        self.blocks = nn.Sequential(*[Block(width, heads, attention) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
        x = self.norm(self.blocks(x + self.pos_embed))
        return self.head(x.mean(1) if self.cls_token is None else x[:, 0])


def factory(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Class token and written-out attention."""
    return prepared(VisionTransformer, (3, 32, 32), seed)


def mean_pool(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Averaged tokens and ``nn.MultiheadAttention``."""
    return prepared(
        lambda: VisionTransformer(class_token=False, attention=TorchAttention), (3, 32, 32), seed
    )
