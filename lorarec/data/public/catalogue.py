"""The public data sets that `lorarec data get` knows.

What is verified and what is not, as of writing. No address here was tried: they were read in the
sources' own pages and in public code that uses them.

- MovieLens: GroupLens publishes an MD5 beside each archive, Zenodo one for each file of KuaiRand.
  The values below were read in several public programs that agree, not at the source.
- XMarket, WSDM Cup 2022 and Amazon Reviews 2023 publish no checksum. None is claimed: the digest
  seen at the first download is recorded and compared at the next.
- Files on GitHub are addressed at the repository's head, so they may change; then the recorded
  digest says so.
- That `us_5core.txt` of XMarket and `s1/train.tsv` of WSDM Cup 2022 exist was read, not seen.
"""

from __future__ import annotations

from lorarec.data.public.record import Choice, Source
from lorarec.errors import NotFoundError, did_you_mean


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
_MOVIELENS_PAPER = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. "
    "https://doi.org/10.1145/2827872"
)
_MOVIELENS_LICENCE = (
    "GroupLens terms (the README in the archive): research use with acknowledgement; no "
    "redistribution and no commercial use without permission."
)
_ZIP = Choice("domain_by", ("zip", "none"), ("zip",), many=False, selects=False)
_ZIP_DOMAIN = "the first digit of the user's ZIP code, zip_other where it is a letter"
_XMARKET_PAPER = (
    "Hamed Bonab, Mohammad Aliannejadi, Ali Vardasbi, Evangelos Kanoulas, James Allan. 2021. "
    "Cross-Market Product Recommendation. CIKM '21. https://doi.org/10.1145/3459637.3482493"
)
_XMARKET_LICENCE = (
    "No licence is stated; its authors write that it is free to download for research purposes."
)
_XMARKET_MARKETS = _words("ae au br ca cn de es fr in it jp mx nl sa sg tr uk us")
_XMARKET_CATEGORIES = _words(
    "Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl Cell_Phones_and_Accessories "
    "Digital_Music Electronics Grocery_and_Gourmet_Food Home_and_Kitchen "
    "Industrial_and_Scientific Kindle_Store Movies_and_TV Musical_Instruments Office_Products "
    "Sports_and_Outdoors Toys_and_Games"
)
_PAPER_MARKETS = ("ca", "de", "fr", "in", "jp", "mx", "uk")
_XMARKET_FULL = "https://ciir.cs.umass.edu/downloads/XMarket/FULL/"
_FOREC = "https://raw.githubusercontent.com/hamedrab/FOREC/HEAD/DATA/proc_data/"
_CUP = "https://raw.githubusercontent.com/hamedrab/wsdm22_cup_xmrec/HEAD/DATA/"
_AMAZON = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/benchmark/"
_AMAZON_CATEGORIES = _words(
    "All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products "
    "Beauty_and_Personal_Care Books CDs_and_Vinyl Cell_Phones_and_Accessories "
    "Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food "
    "Handmade_Products Health_and_Household Health_and_Personal_Care Home_and_Kitchen "
    "Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV "
    "Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Software "
    "Sports_and_Outdoors Subscription_Boxes Tools_and_Home_Improvement Toys_and_Games "
    "Video_Games Unknown"
)
_ZENODO = "https://zenodo.org/records/10439422/files/"

_ALL = (
    Source(
        name="movielens-100k",
        title="MovieLens 100K, 1997 to 1998",
        size="5 MB",
        domain=_ZIP_DOMAIN,
        licence=_MOVIELENS_LICENCE,
        citation=_MOVIELENS_PAPER,
        page="https://grouplens.org/datasets/movielens/100k/",
        layout="movielens-100k",
        urls={"ml-100k.zip": _GROUPLENS + "ml-100k.zip"},
        checksums={"ml-100k.zip": "md5:0e33842e24a9c977be4e0107933c0723"},
        choices=(_ZIP,),
        unpacked_gib=1,
    ),
    Source(
        name="movielens-1m",
        title="MovieLens 1M, 2000",
        size="6 MB",
        domain=_ZIP_DOMAIN,
        licence=_MOVIELENS_LICENCE,
        citation=_MOVIELENS_PAPER,
        page="https://grouplens.org/datasets/movielens/1m/",
        layout="movielens-1m",
        urls={"ml-1m.zip": _GROUPLENS + "ml-1m.zip"},
        checksums={"ml-1m.zip": "md5:c4d9eecfca2ab87c1945afe126590906"},
        choices=(_ZIP,),
        unpacked_gib=1,
    ),
    Source(
        name="movielens-25m",
        title="MovieLens 25M, 1995 to 2019",
        size="260 MB",
        domain="one, movies: nothing is known of its users",
        licence="GroupLens terms (the README in the archive): research use with acknowledgement; "
        "no commercial use without permission; redistribution only as that README allows.",
        citation=_MOVIELENS_PAPER,
        page="https://grouplens.org/datasets/movielens/25m/",
        layout="movielens-25m",
        urls={"ml-25m.zip": _GROUPLENS + "ml-25m.zip"},
        checksums={"ml-25m.zip": "md5:6b51fb2759a8657d3bfcbfc42b592ada"},
        unpacked_gib=4,
    ),
    Source(
        name="xmarket",
        title="XMarket, all ratings of 18 Amazon markets in 16 categories",
        size="some MB a market",
        domain="the market, a country of Amazon",
        licence=_XMARKET_LICENCE,
        citation=_XMARKET_PAPER,
        page="https://xmrec.github.io/",
        layout="xmarket",
        urls={
            "ratings_{market}_{category}.txt.gz": _XMARKET_FULL
            + "{market}/{category}/ratings_{market}_{category}.txt.gz"
        },
        choices=(
            Choice("market", _XMARKET_MARKETS, _PAPER_MARKETS),
            Choice("category", _XMARKET_CATEGORIES, ("Electronics",)),
        ),
        unpacked_gib=32,
    ),
    Source(
        name="xmarket-5core",
        title="XMarket Electronics, the authors' 5-core of FOREC",
        size="8 MB",
        domain="the market, a country of Amazon",
        licence=_XMARKET_LICENCE,
        citation=_XMARKET_PAPER,
        page="https://github.com/hamedrab/FOREC",
        layout="xmarket",
        urls={"{market}_5core.txt": _FOREC + "{market}_5core.txt"},
        choices=(Choice("market", (*_PAPER_MARKETS, "us"), _PAPER_MARKETS),),
        unpacked_gib=1,
    ),
    Source(
        name="wsdm22-xmrec",
        title="WSDM Cup 2022, cross-market recommendation",
        size="15 MB",
        domain="the market, an anonymous country of Amazon: s1 to s3, t1, t2",
        licence="Apache-2.0 (the repository); the cup's page says that the data are free to "
        "download for research purposes.",
        citation=_XMARKET_PAPER,
        page="https://github.com/hamedrab/wsdm22_cup_xmrec",
        layout="wsdm22-xmrec",
        urls={
            "{market}/" + file: _CUP + "{market}/" + file
            for file in ("train.tsv", "train_5core.tsv", "valid_qrel.tsv")
        },
        choices=(Choice("market", ("s1", "s2", "s3", "t1", "t2"), ("s1", "s2", "s3", "t1", "t2")),),
        unpacked_gib=1,
    ),
    Source(
        name="amazon-2023",
        title="Amazon Reviews 2023, ratings by category",
        size="some MB to 1 GB a category",
        domain="the category",
        licence="The source states no licence for the data (its scripts are MIT).",
        citation="Yupeng Hou, Jiacheng Li, Zhankui He, An Yan, Xiusi Chen, Julian McAuley. 2024. "
        "Bridging Language and Items for Retrieval and Recommendation. arXiv:2403.03952",
        page="https://amazon-reviews-2023.github.io/",
        layout="amazon-2023",
        urls={
            "{variant}/{category}.csv.gz": _AMAZON + "{variant}/rating_only/{category}.csv.gz",
        },
        choices=(
            Choice(
                "category",
                _AMAZON_CATEGORIES,
                ("Industrial_and_Scientific", "Musical_Instruments", "Video_Games"),
            ),
            Choice("variant", ("5core", "0core"), ("5core",), many=False),
        ),
        unpacked_gib=64,
    ),
    Source(
        name="kuairand",
        title="KuaiRand, clicks in a video app, 2022",
        size="45 MB (Pure), 1.1 GB (1K)",
        domain="the tab, a scene of the app such as its main page: tab_0 to tab_14",
        licence="CC BY-SA 4.0",
        citation="Chongming Gao, Shijun Li, Yuan Zhang, Jiawei Chen, Biao Li, Wenqiang Lei, Peng "
        "Jiang, Xiangnan He. 2022. KuaiRand: An Unbiased Sequential Recommendation Dataset with "
        "Randomly Exposed Videos. CIKM '22. https://doi.org/10.1145/3511808.3557624",
        page="https://kuairand.com/",
        layout="kuairand",
        urls={"KuaiRand-{variant}.tar.gz": _ZENODO + "KuaiRand-{variant}.tar.gz"},
        checksums={
            "KuaiRand-Pure.tar.gz": "md5:0820331067a3784d9691136f772b35a7",
            "KuaiRand-1K.tar.gz": "md5:6b0b9c8222d67fcd4c676218edca3f1f",
        },
        choices=(Choice("variant", ("Pure", "1K"), ("Pure",), many=False),),
        unpacked_gib=8,
    ),
)
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def find_source(name: str) -> Source:
    """The source of a name.

    Raises:
        NotFoundError: There is none; the nearest names are given.
    """
    if name.lower() not in SOURCES:
        raise NotFoundError(
            f"There is no public data set {name!r}.{did_you_mean(name, SOURCES)} "
            f"`lorarec data get --list` shows all {len(SOURCES)}."
        )
    return SOURCES[name.lower()]
