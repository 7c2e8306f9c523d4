//! What the account has, and what happens to it, behind the tool's back.

use testing::aws::world::World;

/// The digests that the repository has.
pub(crate) fn images(world: &World) -> Vec<String> {
    let list = aws_sdk_ecr::Client::new(&world.sdk()).list_images().repository_name(&world.name);
    let list = wait(list.send()).unwrap();
    let digests = list.image_ids().iter().filter_map(|id| id.image_digest());
    digests.map(str::to_owned).collect()
}

/// The roles whose names begin with ours.
pub(crate) fn roles(world: &World) -> Vec<String> {
    let list = wait(aws_sdk_iam::Client::new(&world.sdk()).list_roles().send()).unwrap();
    let names = list.roles().iter().map(|role| role.role_name().to_owned());
    names.filter(|name| name.starts_with(&format!("{}-api-role", world.name))).collect()
}

/// Deletes the role behind the tool's back.
pub(crate) fn delete_role(world: &World) {
    let (iam, role) = (aws_sdk_iam::Client::new(&world.sdk()), format!("{}-api-role", world.name));
    let basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    wait(iam.detach_role_policy().role_name(&role).policy_arn(basic).send()).unwrap();
    let policy = "BedrockAndDynamoDB";
    wait(iam.delete_role_policy().role_name(&role).policy_name(policy).send()).unwrap();
    wait(iam.delete_role().role_name(&role).send()).unwrap();
}

/// For tests that are not asynchronous otherwise.
pub(crate) fn wait<T: Send>(call: impl Future<Output = T> + Send) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| scope.spawn(|| runtime.block_on(call)).join().unwrap())
}
