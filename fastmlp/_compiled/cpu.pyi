from typing import Final

LEVELS: Final[tuple[str, ...]]
isa: Final[str]
compiler: Final[str]
tables: Final[tuple[object, object]]

def built_levels() -> list[str]: ...
def supported_levels() -> list[str]: ...
