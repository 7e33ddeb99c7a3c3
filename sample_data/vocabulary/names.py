"""Chinese surnames, given-name characters, streets and towns, with pinyin where a person reads it.

The province, the town, its districts and its streets do not exist; any likeness of a full name to a living person is chance.
"""

from __future__ import annotations

from typing import Final

SURNAMES: Final = (
    ("王", "Wang"), ("李", "Li"), ("张", "Zhang"), ("刘", "Liu"), ("陈", "Chen"), ("杨", "Yang"), ("黄", "Huang"),
    ("赵", "Zhao"), ("吴", "Wu"), ("周", "Zhou"), ("徐", "Xu"), ("孙", "Sun"), ("马", "Ma"), ("朱", "Zhu"),
    ("胡", "Hu"), ("郭", "Guo"), ("何", "He"), ("林", "Lin"), ("高", "Gao"), ("罗", "Luo"), ("郑", "Zheng"),
    ("梁", "Liang"), ("谢", "Xie"), ("宋", "Song"), ("唐", "Tang"), ("许", "Xu"), ("韩", "Han"), ("冯", "Feng"),
    ("邓", "Deng"), ("曹", "Cao"), ("彭", "Peng"), ("曾", "Zeng"), ("萧", "Xiao"), ("欧阳", "Ouyang"),
)  # fmt: skip
"""Surname and its pinyin; about in the order of how common they are."""

MALE: Final = (
    ("建国", "Jianguo"), ("志强", "Zhiqiang"), ("伟", "Wei"), ("军", "Jun"), ("明辉", "Minghui"), ("海涛", "Haitao"),
    ("国庆", "Guoqing"), ("文博", "Wenbo"), ("俊杰", "Junjie"), ("浩然", "Haoran"), ("子轩", "Zixuan"), ("勇", "Yong"),
    ("德福", "Defu"), ("永康", "Yongkang"), ("晓东", "Xiaodong"), ("鹏飞", "Pengfei"), ("振华", "Zhenhua"),
    ("家豪", "Jiahao"), ("宇航", "Yuhang"), ("少峰", "Shaofeng"), ("立新", "Lixin"), ("庆余", "Qingyu"),
)  # fmt: skip
"""Given names of men."""

FEMALE: Final = (
    ("秀英", "Xiuying"), ("桂兰", "Guilan"), ("丽华", "Lihua"), ("静", "Jing"), ("敏", "Min"), ("雪梅", "Xuemei"),
    ("玉珍", "Yuzhen"), ("晓燕", "Xiaoyan"), ("佳怡", "Jiayi"), ("欣妍", "Xinyan"), ("雨桐", "Yutong"), ("芳", "Fang"),
    ("淑芬", "Shufen"), ("红霞", "Hongxia"), ("婷婷", "Tingting"), ("思琪", "Siqi"), ("美玲", "Meiling"),
    ("慧敏", "Huimin"), ("诗涵", "Shihan"), ("春燕", "Chunyan"), ("凤琴", "Fengqin"), ("娟", "Juan"),
)  # fmt: skip
"""Given names of women."""

PROVINCE: Final = "江州省"
CITY: Final = "云岚市"
DISTRICTS: Final = ("东湖区", "望江区", "松林区", "临港区")
STREETS: Final = (
    "枫林路", "望江大道", "学府街", "桂花巷", "解放东路", "松涛路", "湖滨北路", "青石街", "码头西路", "梧桐路", "永宁街", "锦绣路",
)  # fmt: skip
COMMUNITIES: Final = ("碧水园", "阳光花苑", "翠竹小区", "金桂新村", "锦江雅苑", "老码头社区", "松林家园")
