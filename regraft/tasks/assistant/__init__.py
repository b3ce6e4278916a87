"""A dialogue about a domain, answered from retrieved passages or not at all.

safety wording first -> the question resolved against the dialogue -> retrieval -> answer, ask back
or abstain -> a reply made of the passages' own sentences, with their sources. See
docs/assistant.md.
"""
