from __future__ import annotations

from decimal import Decimal

from demo_project.shop.models import Product

PRODUCTS = [
    {
        "sku": "MUG-01",
        "slug": "bronto-mug",
        "name": "Bronto mug",
        "category": "Kitchen",
        "price": Decimal("14.50"),
        "summary": "Stoneware, one pint, with a neck for a handle.",
        "description": "Thrown by hand and glazed in fern green. Fit for dishwashers and for giants.",
        "picture": "mug.svg",
    },
    {
        "sku": "KIT-01",
        "slug": "fossil-dig-kit",
        "name": "Fossil dig kit",
        "category": "Play",
        "price": Decimal("19.95"),
        "summary": "A block of plaster, the tools, and a find.",
        "description": "Chisel, brush, magnifier and a booklet that tells what you have found. Takes an afternoon.",
        "picture": "dig-kit.svg",
    },
    {
        "sku": "DSK-01",
        "slug": "ammonite-paperweight",
        "name": "Ammonite paperweight",
        "category": "Desk",
        "price": Decimal("38.00"),
        "summary": "Cast in brass from a find in the Jura.",
        "description": "Half a pound of brass, polished on the ribs and dark between them. No two are alike.",
        "picture": "ammonite.svg",
    },
    {
        "sku": "PRT-01",
        "slug": "fern-print",
        "name": "Fern print",
        "category": "Wall",
        "price": Decimal("24.00"),
        "summary": "A pressed frond, printed on cotton paper.",
        "description": "Letterpress in two greens, 12 by 16 inches. Ships flat, without the frame.",
        "picture": "fern-print.svg",
    },
    {
        "sku": "DSK-02",
        "slug": "field-notebook",
        "name": "Field notebook",
        "category": "Desk",
        "price": Decimal("11.00"),
        "summary": "Stone paper: writes in the rain.",
        "description": "96 dotted pages in a cloth cover, with a ruler for scale along the edge.",
        "picture": "notebook.svg",
    },
    {
        "sku": "BAG-01",
        "slug": "footprint-tote",
        "name": "Footprint tote",
        "category": "Carry",
        "price": Decimal("18.00"),
        "summary": "Heavy canvas with a three-toed print.",
        "description": "Holds a week of groceries or one egg of moderate size. Organic cotton, inner pocket.",
        "picture": "tote.svg",
    },
    {
        "sku": "PIN-01",
        "slug": "trilobite-pin",
        "name": "Trilobite pin",
        "category": "Wear",
        "price": Decimal("9.50"),
        "summary": "Hard enamel, an inch of the Cambrian.",
        "description": "Two clasps, so that it keeps facing forward. It did so for 270 million years.",
        "picture": "trilobite.svg",
    },
    {
        "sku": "LMP-01",
        "slug": "amber-lamp",
        "name": "Amber lamp",
        "category": "Home",
        "price": Decimal("64.00"),
        "summary": "Warm light through cast resin.",
        "description": "Dimmable, with a gnat inside that nobody has sequenced yet. Bulb included. Ships free.",
        "picture": "lamp.svg",
    },
]


def stock() -> None:
    """Bring the shelves in line with the catalogue."""
    for fields in PRODUCTS:
        Product.objects.update_or_create(sku=fields["sku"], defaults=fields)
