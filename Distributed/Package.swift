// swift-tools-version: 6.2
import PackageDescription

// MPI's binary interface differs from one implementation to the next, so the choice is made when the
// package is compiled: ATTNBENCH_MPI=mpich builds against MPICH, with `mpirun.mpich` to launch it.
let usesMPICH = Context.environment["ATTNBENCH_MPI"] == "mpich"

// Its own package, so that the core builds and installs without MPI.
let package = Package(
  name: "attnbench-distributed",
  products: [
    .library(name: "DistributedAttention", targets: ["DistributedAttention"]),
    .executable(name: "attnbench-mpi", targets: ["attnbench-mpi"]),
  ],
  dependencies: [
    .package(name: "attnbench", path: "../"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/ordo-one/TextTable", from: "0.0.2"),
  ],
  targets: [
    .systemLibrary(
      name: "CMPI", pkgConfig: usesMPICH ? "mpich" : "ompi-c",
      providers: [.apt(usesMPICH ? ["libmpich-dev"] : ["libopenmpi-dev"])]),
    .target(name: "MessagePassing", dependencies: ["CMPI"]),
    .target(
      name: "DistributedAttention",
      dependencies: [
        "MessagePassing",
        .product(name: "Attention", package: "attnbench"),
        .product(name: "AttentionBench", package: "attnbench"),
        .product(name: "MachineTopology", package: "attnbench"),
      ]),
    .executableTarget(
      name: "attnbench-mpi",
      dependencies: [
        "DistributedAttention", "MessagePassing",
        .product(name: "Attention", package: "attnbench"),
        .product(name: "AttentionBench", package: "attnbench"),
        .product(name: "MachineTopology", package: "attnbench"),
        .product(name: "TensorFiles", package: "attnbench"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "TextTable", package: "TextTable"),
      ]),
    // The schemes against one process: needs ranks, so it is a program that runs under mpirun.
    .executableTarget(
      name: "scheme-check",
      dependencies: [
        "DistributedAttention", "MessagePassing",
        .product(name: "Attention", package: "attnbench"),
        .product(name: "AttentionBench", package: "attnbench"),
        .product(name: "MachineTopology", package: "attnbench"),
      ]),
    .testTarget(
      name: "DistributedAttentionTests",
      dependencies: [
        "DistributedAttention", "MessagePassing",
        .product(name: "Attention", package: "attnbench"),
        .product(name: "AttentionBench", package: "attnbench"),
      ]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c17
)
