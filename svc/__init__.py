"""InfiniLM-SVC: the control plane around an on-premises team's LLM servers."""
