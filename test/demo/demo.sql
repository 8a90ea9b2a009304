SELECT * FROM referral.deploy();
