//! Every backend, against every rule of the contract.
