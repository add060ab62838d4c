# Manyhands: tracker, peer and lab in one small image. docs/deploy.md says how it is used.
#
#   docker build -t manyhands .
#   docker build --build-arg BASE=my/python:3.12 -t manyhands .     any base with Python >= 3.11 and venv
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
# Where the package index is another than the public one.
ARG PIP_INDEX_URL=
ARG PIP_TRUSTED_HOST=
# "lab" adds what the lab's figures need.
ARG EXTRAS=
COPY pyproject.toml README.md LICENSE /src/
COPY peer /src/peer
COPY tracker /src/tracker
COPY lab /src/lab
# The compiled modules stay: on a read-only file system every start would compile them again.
RUN python3 -m venv /opt/manyhands \
 && /opt/manyhands/bin/pip install --no-cache-dir --disable-pip-version-check "/src${EXTRAS:+[$EXTRAS]}" \
 && /opt/manyhands/bin/pip uninstall --yes --quiet pip setuptools

FROM ${BASE}
COPY --from=build /opt/manyhands /opt/manyhands
COPY deploy/docker/run /usr/local/bin/manyhands
# Volumes take over the owner of the folders that they cover. A numeric user needs no entry in /etc/passwd.
RUN mkdir -p /state /data /report && chown 10001:10001 /state /data /report \
 && chmod 755 /usr/local/bin/manyhands
ENV PATH=/opt/manyhands/bin:$PATH \
    MANYHANDS_HOME=/state \
    MANYHANDS_LAN=0 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
EXPOSE 7700 7701
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/manyhands"]
CMD ["peer", "--help"]
