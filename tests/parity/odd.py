"""What Diffusers gives and few would expect: text for the page, of what the cells compare too."""

from __future__ import annotations

__all__ = ["ODD"]

ODD = """\
- The refiner of XL reads no `prompt_2` and no `negative_prompt_2`: its one encoder is handed the
  prompts for all. A warning says that nothing reads them.
- What FLUX's ControlNet and Kontext inpainting paint of a part (`padding_mask_crop`) comes out by
  itself and is not put into its picture. `VaeImageProcessor.apply_overlay` puts it there.
- What FLUX.2 klein paints of a part is cut to the size of its place, not made as small.
  `pipe.graph.replace_node("image", type="processor/vae_image", fitting="resized")` makes it so.
- FLUX's Control, Kontext and ControlNet pipelines give a scheduler that lays flow sigmas of its
  own, such as UniPC, the even ones of FLUX. `FluxPipeline` leaves them to it.
- FLUX's inpainting encodes and draws the masked picture, and XL's with 9 channels draws noise
  where it goes on with another's latents. Nothing reads these; who draws next goes on behind them.
- Stable Diffusion 3's inpainting forgets the VAE's shift when it decodes."""
