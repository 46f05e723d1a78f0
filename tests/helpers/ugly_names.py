"""Names of categories as shops have them, and as nobody should: long, of many scripts, and hostile."""

UGLY = (
    "衣服和鞋子",
    "家電・キッチン用品",
    "여성 의류와 신발",
    "ملابس نسائية وأحذية",
    "เสื้อผ้าผู้หญิง",
    "महिलाओं के कपड़े",
    "👟 Shoes 🎉",
    "=cmd|' /C calc'!A1",
    "+1+1",
    "@SUM(A1)",
    "<img src=x onerror=alert(1)>",
    "Women > Clothing > Outerwear > Jackets and coats > Winter jackets, quilted, with a hood (plus size)",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenherstellungsmaschinenersatzteilzubehör",
    "a|b`c`*d*_e_",
    "\\textbf{x} $x_2$ & 50% #1",
    "line\nbreak",
    "\x1b[31mred",
    "--> </script><script>alert(2)</script>",
    "W" * 90,
    "衣" * 90,
)


def ugly_names(categories: int) -> dict[str, str]:
    """Display names for the categories of `tests.helpers.synthetic_run.make_run`, each of them once."""
    return {
        f"c{number:02d}": UGLY[number % len(UGLY)] + (f" {number}" if number >= len(UGLY) else "")
        for number in range(categories)
    }
