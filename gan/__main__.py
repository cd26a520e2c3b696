"""`python -m gan VERB` is `gan VERB`."""

import sys

from gan.commands.main import main

sys.exit(main())
